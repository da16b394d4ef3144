//! The images of a suite's pods, made from programs of this machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::suite::Suite;
use crate::images::{Config, Layer, Layout, busybox};

/// Debian's package `busybox-static`.
const BUSYBOX: &str = "/bin/busybox";

/// `localhost/busybox:1` and an image for each of the suite's programs, as one archive.
pub(super) fn archive(base: &Path, suite: &Suite) -> Result<PathBuf> {
    let path = base.join(format!("{}.tar", suite.name));
    let program = fs::read(BUSYBOX)
        .with_context(|| format!("no {BUSYBOX}: apt-get install busybox-static"))?;
    let mut layout = Layout::default();
    let tools = layout.layer(busybox(&program, &program, &program)?)?;
    layout.image("localhost/busybox:1", &Config::new(&[], &["sh"]), &[tools])?;
    for name in suite.images {
        let mut layer = Layer::new();
        layer.file(name, 0o755, &fs::read(base.join("bin").join(name))?)?;
        let layer = layout.layer(layer)?;
        let start = format!("/{name}");
        let config = Config::new(&[&start], &[]);
        layout.image(&format!("localhost/{name}:1"), &config, &[tools, layer])?;
    }
    layout.write(&path)?;
    Ok(path)
}
