//! docs/BENCHMARKS.md: the figures of one run, and how to take them again.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

pub(crate) struct Document {
    pub(crate) commit: String,
    pub(crate) machine: String,
    pub(crate) date: String,
    /// Load average when the run began.
    pub(crate) load: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) minutes: f64,
}

/// A heading and what is below it.
pub(crate) struct Part {
    pub(crate) title: &'static str,
    pub(crate) text: String,
}

const HEAD: &str = "# Benchmarks

Written by `make bench` from one run; every figure is from that run, none is copied in. Repeat it before you believe it: the clients share the machine's cores, whatever is durable follows the disk (hence the flush probe: append of 2 KiB and fdatasync, median of 200), and only ratios of one interleaved run carry over to another machine.
";

const TAIL: &str = "## How to repeat
`make bench` as root, with Go 1.26 for upstream's side; it builds the release binary, this client and upstream's etcd, kube-apiserver, kube-controller-manager and kube-scheduler from the Go module in `tests/conformance`, measures, and writes this file. Without Go the first two parts are measured. Single parts, once built: `benches` (one node), `benches nodes`, `benches services`, `benches compare --upstream .build`.

A run beside another one is refused; what a killed run left (clusters, upstream's programs, files) is removed by the next one. A part that fails is named here and makes the command fail.

## How each is taken
- **Start**: from the exec of `transom up` (of etcd, for upstream, whose keys are made before) on an empty data folder to the first 200 of `/readyz` over TLS; to the watch event that shows the last node Ready.
- **Memory, processor**: the kernel's proportional set size, and user and system time in ticks of 10 ms (less counts as one tick, 0.05 %), of all processes: ours with a node (control plane, agent, the keeper of each), upstream's control plane alone, 15 s after the start.
- **Pods**: 30 one after the other, image present, from the create request to the watch event that shows the container running. 300 over three nodes: from the server-side apply of a Deployment to the watch event that shows each pod Ready.
- **Services**: from the bytes of a changed EndpointSlice to the kernel's commit; connections one after the other from a pod to a pod, directly and through one of 1,000 Services, in interleaved rounds. No cluster: the proxy's engine in network namespaces of its own.
- **DNS**: the core alone on one thread with 10,000 Services; over UDP two clients on the host with 64 questions under way each.
- **Requests, one node**: 32 clients with a TLS connection each, 5 s per kind.
- **Side by side**: the same client and the same work, upstream and Transom in turn, three rounds of 1.5 s each; 32 clients with a TLS connection and one request under way each. Median, least and most of the rounds; the ratio says how many times better the median of Transom is. Upstream's scheduler may send 5,000 requests a second (its default of 50 would be what is measured), everything else is its default. Both store on the same disk with fdatasync before an acknowledgement. Before anything is measured each API's port is looked up in the kernel: a process of this run must hold it. An answer that is an error, or shorter than what was asked for, ends the run.
- **Events**: 400 creates seen by 100 watchers, from the first write to the last delivery. **Scheduling**: 500 pods on 100 nodes that exist only as objects, from the first create to the last binding seen by a watch.
";

impl Document {
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, self.text()).with_context(|| format!("write {}", path.display()))
    }

    fn text(&self) -> String {
        let build = match cfg!(debug_assertions) {
            true => " **The client is an unoptimised build: no figure here is worth comparing.**",
            false => "",
        };
        let commit = match self.commit.as_str() {
            "" => "unknown",
            commit => commit,
        };
        let mut text = HEAD.to_owned();
        let _ = writeln!(
            text,
            "\nCommit {commit}, {}. {}; load average {} when it began; {:.1} minutes.{build}\n",
            self.date, self.machine, self.load, self.minutes
        );
        for part in &self.parts {
            let _ = writeln!(text, "## {}\n{}", part.title, part.text);
        }
        text.push_str(TAIL);
        text
    }
}
