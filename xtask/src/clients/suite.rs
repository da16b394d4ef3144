//! The suites: a row each.

use std::path::PathBuf;

use anyhow::Result;

use super::check::Check;
use super::helm;
use super::program::{GO, KUBECTL, PYTHON, Program, Tool};
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

pub(super) const SUITES: [Suite; 2] = [
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
];
