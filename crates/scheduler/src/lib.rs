//! Queue, snapshot, plugins, decide, bind.
