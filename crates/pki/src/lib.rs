//! X.509 certificates, signing requests, JSON web tokens; knows no Kubernetes object.
