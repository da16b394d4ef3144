//! What is fuzzed: a table of targets, each a reader of something that others send, and its laws.
//!
//! Owns the targets, their budgets of heap and time, and what must hold beyond not panicking.
//! `fuzz/engine` runs them under libFuzzer (`make fuzz`), `tests/replay.rs` runs the committed
//! corpus and all past findings as an ordinary test. Knows no engine.
//! A target panics when a law is broken; errors of the reader are as good as success.

mod connections;
mod documents;
mod images_;
mod names;
mod patches;
mod requests;
mod texts;

use std::time::{Duration, Instant};

/// One reader.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Folder of its corpus, and its name on the command line.
    pub name: &'static str,
    /// Runs it on one input; panics when a law is broken.
    pub run: fn(&[u8]),
    /// The longest input that is tried.
    pub most: usize,
    /// Heap that a run may take at any moment.
    pub heap: Heap,
}

/// A bound on heap: so much, and so much for each byte of the input.
#[derive(Clone, Copy, Debug)]
pub struct Heap {
    /// Whatever the input.
    pub base: usize,
    /// For each byte.
    pub factor: usize,
}

impl Heap {
    /// The bound for an input of `length` bytes.
    #[must_use]
    pub const fn bound(&self, length: usize) -> usize {
        self.base + self.factor * length
    }
}

/// Processor time of one input.
pub const TIME: Duration = Duration::from_millis(500);

/// Readers that hold little more than their input.
const SMALL: Heap = Heap {
    base: 256 << 10,
    factor: 64,
};
/// Documents and the copies that their laws take.
const DOCUMENT: Heap = Heap {
    base: 4 << 20,
    factor: 2048,
};
/// A connection with its buffers at both ends.
const CONNECTION: Heap = Heap {
    base: 12 << 20,
    factor: 256,
};

const fn target(name: &'static str, run: fn(&[u8]), most: usize, heap: Heap) -> Target {
    Target {
        name,
        run,
        most,
        heap,
    }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("json", documents::json, 4096, DOCUMENT),
    target("typed", documents::typed, 4096, DOCUMENT),
    target("protobuf", documents::protobuf, 4096, DOCUMENT),
    target("watch-frames", documents::watch_frames, 4096, DOCUMENT),
    target("yaml", documents::yaml, 2048, DOCUMENT),
    target("merge-patch", patches::merge, 2048, DOCUMENT),
    target("json-patch", patches::json_patch, 2048, DOCUMENT),
    target("strategic-patch", patches::strategic, 2048, DOCUMENT),
    target("apply", patches::apply, 2048, DOCUMENT),
    target("label-selector", texts::labels, 512, SMALL),
    target("field-selector", texts::fields, 512, SMALL),
    target("quantity", texts::quantity, 128, SMALL),
    target("time", texts::time, 64, SMALL),
    target("duration", texts::duration, 64, SMALL),
    target("cron", texts::cron, 128, SMALL),
    target("reference", texts::reference, 512, SMALL),
    target("kubeconfig", texts::kubeconfig, 2048, DOCUMENT),
    target("continue", requests::token, 512, SMALL),
    target("request", requests::request, 1024, SMALL),
    target("jwt", requests::jwt, 1024, SMALL),
    target("certificate", requests::certificate, 2048, SMALL),
    target("manifest", images_::manifest, 4096, DOCUMENT),
    target("tar", images_::tar, 16384, DOCUMENT),
    target("layer", images_::layer, 8192, DOCUMENT),
    target("dns-query", names::query, 600, CONNECTION),
    target("dns-reply", names::reply, 1300, CONNECTION),
    target("corefile", names::corefile, 2048, CONNECTION),
    target("resolv-conf", names::resolv_conf, 512, SMALL),
    target("http1", connections::http1, 4096, CONNECTION),
    target("http2", connections::http2, 4096, CONNECTION),
    target("websocket", connections::websocket, 4096, CONNECTION),
    target(
        "websocket-client",
        connections::websocket_client,
        4096,
        CONNECTION,
    ),
    target("spdy-exec", connections::spdy_exec, 4096, CONNECTION),
    target("spdy-forward", connections::spdy_forward, 4096, CONNECTION),
];

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Runs a target within its budgets.
///
/// # Panics
/// When a law is broken, or a budget.
#[expect(
    clippy::disallowed_methods,
    reason = "real time is what the budget is of"
)]
pub fn check(target: &Target, data: &[u8], heap: &peak_alloc::PeakAlloc) {
    let data = &data[..data.len().min(target.most)];
    let before = heap.current_usage();
    heap.reset_peak_usage();
    let start = Instant::now();
    (target.run)(data);
    let elapsed = start.elapsed();
    let held = heap.peak_usage().saturating_sub(before);
    let bound = target.heap.bound(data.len());
    assert!(
        held <= bound,
        "heap: {} took {held} bytes for {} bytes of input, more than {bound}",
        target.name,
        data.len()
    );
    if elapsed > TIME {
        // The machine may have been busy: what counts is the processor time of a second run.
        let used = processor_time(|| (target.run)(data));
        assert!(
            used <= TIME,
            "time: {} took {used:?} of processor time for {} bytes of input",
            target.name,
            data.len()
        );
    }
}

fn processor_time(work: impl FnOnce()) -> Duration {
    let now = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(
            u64::try_from(now.tv_sec).unwrap_or_default(),
            u32::try_from(now.tv_nsec).unwrap_or_default(),
        )
    };
    let before = now();
    work();
    now().saturating_sub(before)
}

/// Text of any bytes.
fn text(data: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(data)
}

/// The parts between lines of three dashes.
fn parts(data: &[u8]) -> Vec<&[u8]> {
    const MARK: &[u8] = b"\n---\n";
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        parts.push(&rest[..at]);
        rest = &rest[at + MARK.len()..];
    }
    parts.push(rest);
    parts
}
