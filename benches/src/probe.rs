//! What the disk alone costs: a durable figure says nothing without it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use crate::report::{Figure, percentile};

const ROUNDS: usize = 200;
const BYTES: usize = 2048;

/// The probe as a row.
pub(crate) fn flush(folder: &Path, name: &str) -> Result<Figure> {
    let median = flush_ms(folder)?;
    Ok(Figure::new(format!("{name} (2 KiB, median)"), "ms", median))
}

/// Median of appending 2 KiB and fdatasync.
pub(crate) fn flush_ms(folder: &Path) -> Result<f64> {
    let path = folder.join("flush-probe");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("create {}", path.display()))?;
    let mut taken = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        file.write_all(&[7; BYTES])
            .and_then(|()| file.sync_data())
            .with_context(|| format!("flush {}", path.display()))?;
        taken.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    taken.sort_by(f64::total_cmp);
    Ok(percentile(&taken, 0.5))
}
