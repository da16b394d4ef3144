//! The suites: a row each.

use std::path::PathBuf;

use anyhow::Result;

use super::check::Check;
use super::coredns;
use super::helm;
use super::metrics;
use super::program::{GO, KUBECTL, NODE, NPM, PYTHON, Program, Tool};
use super::script;

/// What a running suite works with.
pub(super) struct Setting {
    /// Its committed files, tests/clients/NAME.
    pub(super) folder: PathBuf,
    /// Where built programs are.
    pub(super) programs: PathBuf,
    /// Its own folder for what it writes.
    pub(super) work: PathBuf,
    pub(super) kubeconfig: PathBuf,
}

pub(super) struct Suite {
    pub(super) name: &'static str,
    /// The client, its version, and what it is asked to do.
    pub(super) about: &'static str,
    /// What the machine must have.
    pub(super) tools: &'static [Tool],
    /// What is built from Go modules first.
    pub(super) programs: &'static [Program],
    /// Programs that are an image of their own too: `localhost/NAME:1`.
    pub(super) images: &'static [&'static str],
    pub(super) nodes: usize,
    pub(super) run: fn(&Setting) -> Result<Vec<Check>>,
}

const HELM: Program = Program {
    name: "helm",
    module: "tests/clients/helm",
    package: "helm.sh/helm/v4/cmd/helm",
};

const KWOK: Program = Program {
    name: "kwok",
    module: "tests/clients/kwok",
    package: "sigs.k8s.io/kwok/cmd/kwok",
};
/// What makes the nodes and pods, with client-go.
const KWOK_LOAD: Program = Program {
    name: "kwok-load",
    module: "tests/clients/kwok",
    package: "./load",
};

const COREDNS: Program = Program {
    name: "coredns",
    module: "tests/clients/coredns",
    package: "github.com/coredns/coredns",
};
const METRICS_SERVER: Program = Program {
    name: "metrics-server",
    module: "tests/clients/metrics-server",
    package: "sigs.k8s.io/metrics-server/cmd/metrics-server",
};

pub(super) const SUITES: [Suite; 6] = [
    Suite {
        name: "helm",
        about: "helm v4.3.1 installs, upgrades, rolls back, tests and removes a chart",
        tools: &[GO],
        programs: &[KUBECTL, HELM],
        images: &[],
        nodes: 1,
        run: helm::run,
    },
    Suite {
        name: "python",
        about: "PyPI `kubernetes` 37.0.2: its tests of the dynamic client, and ours of the rest",
        tools: &[PYTHON],
        programs: &[],
        images: &[],
        nodes: 1,
        run: script::python,
    },
    Suite {
        name: "javascript",
        about: "npm `@kubernetes/client-node` 1.4.0: lists, watches, informers, streams, apply",
        tools: &[NODE, NPM],
        programs: &[],
        images: &[],
        nodes: 1,
        run: script::javascript,
    },
    Suite {
        name: "kwok",
        about: "kwok v0.8.0 plays fake nodes, client-go makes pods for them, our scheduler places them",
        tools: &[GO],
        programs: &[KWOK, KWOK_LOAD],
        images: &[],
        nodes: 1,
        run: script::kwok,
    },
    Suite {
        name: "coredns",
        about: "CoreDNS v1.15.0 runs as pods and says what the cluster's own server says",
        tools: &[GO],
        programs: &[KUBECTL, COREDNS],
        images: &["coredns"],
        nodes: 1,
        run: coredns::run,
    },
    Suite {
        name: "metrics-server",
        about: "metrics-server v0.9.0 runs as a pod and is asked for metrics",
        tools: &[GO],
        programs: &[KUBECTL, METRICS_SERVER],
        images: &["metrics-server"],
        nodes: 1,
        run: metrics::run,
    },
];
