//! TLS, HTTP server and client, upgraded streams, in-memory pipe.
