//! Local clusters: preflight, address ranges, node namespaces, certificates, host state.
