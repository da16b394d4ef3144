//! Transport-neutral API client: typed requests, reflector, work queue, leases, events.
