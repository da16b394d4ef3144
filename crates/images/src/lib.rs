//! Registry client, content store, unpacking, snapshots, garbage collection.
