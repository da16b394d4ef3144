//! `transom lookup`: a question to the DNS from wherever this binary is, be it the only file of a
//! pod's image.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Result;

use crate::report;

pub(crate) fn run(name: &str, kind: &str, server: Option<SocketAddr>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let looked = runtime.block_on(dns::lookup(name, kind, &resolv_conf, server))?;
    report::result(&looked.text);
    Ok(match looked.found {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
