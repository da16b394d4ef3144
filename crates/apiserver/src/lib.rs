//! Authentication, filters, verbs, watch cache, discovery.
