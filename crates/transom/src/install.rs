//! `transom install` and `uninstall`: this machine as a cluster of one node, kept by systemd.

use anyhow::Result;
use bootstrap::install::{self as machine, Installed};
use bootstrap::ranges::Wanted;

use crate::cli::Install;
use crate::local;
use crate::report::{progress, result};

pub(crate) fn install(request: &Install) -> Result<()> {
    let request = machine::Install {
        node_name: request.node_name.clone(),
        node_address: request.node_address,
        ranges: Wanted {
            pods: request.pod_range.clone(),
            services: request.service_range.clone(),
            nodes: None,
        },
        port: request.api_port,
    };
    let installed = machine::install(&request, &mut progress)?;
    wait_for_node(&installed)?;
    result(&format!(
        "node {} is Ready: API https://{}; export KUBECONFIG={}\nThe services are transom-server and \
         transom-agent; `transom uninstall` removes everything.",
        installed.node,
        installed.api(),
        installed.kubeconfig().display()
    ));
    Ok(())
}

pub(crate) fn wait_for_node(installed: &Installed) -> Result<()> {
    let log = "`journalctl -u transom-agent`";
    local::wait_for(
        std::slice::from_ref(&installed.node),
        &installed.kubeconfig(),
        log,
    )
}

pub(crate) fn uninstall() -> Result<()> {
    machine::uninstall(&mut progress)?;
    result("the services of this machine are gone, with their pods and data");
    Ok(())
}
