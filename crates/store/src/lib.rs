//! MVCC core over bytes, its SQLite log, watch, compaction, TTL.
