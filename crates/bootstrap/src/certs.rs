//! Keys and certificates of a cluster, under kubeadm's file names.
//!
//! Everything missing is made, everything there is kept, so that a killed `up` is completed and a
//! resumed cluster keeps its identities. The control plane's folder belongs to its own user; a
//! node's files lie in its data folder, of which the node sees nothing else. The `_in` forms make the
//! same keys for a machine (`install`).
//! Source: kubernetes v1.36 cmd/kubeadm/app/{constants,phases/certs} (names, subjects).

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use base::{Clock, SystemClock};
use jiff::Timestamp;
use pki::{Ca, Identity, KeyPair, Profile, San, Usage};

use crate::cluster::{Place, State};
use crate::error::Error;
use crate::{files, node};

/// The cluster CA.
pub const CA: &str = "ca";
/// The CA of the aggregator's client certificate.
pub const FRONT_PROXY_CA: &str = "front-proxy-ca";
/// What the API server shows to aggregated servers.
pub const FRONT_PROXY_CLIENT: &str = "front-proxy-client";
/// The API server's serving certificate.
pub const API_SERVER: &str = "apiserver";
/// What the API server shows to kubelets.
pub const API_SERVER_KUBELET_CLIENT: &str = "apiserver-kubelet-client";
/// The administrator.
pub const ADMIN: &str = "admin";
/// The controllers.
pub const CONTROLLER_MANAGER: &str = "controller-manager";
/// The scheduler.
pub const SCHEDULER: &str = "scheduler";
/// The key pair of service-account tokens: `sa.key` and `sa.pub`.
pub const SERVICE_ACCOUNT: &str = "sa";
/// What a kubelet shows to the API server, in the node's `pki` folder.
pub const KUBELET_CLIENT: &str = "kubelet-client";
/// What a node's DNS shows to the API server, in the node's `pki` folder.
pub const DNS_CLIENT: &str = "dns-client";
/// What the service proxy shows to the API server, in the node's `pki` folder.
pub const PROXY_CLIENT: &str = "kube-proxy-client";
/// What a kubelet serves with, in the node's `pki` folder.
pub const KUBELET: &str = "kubelet";

const YEAR: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);

/// The control plane's folder of keys.
pub(crate) fn folder(place: &Place) -> PathBuf {
    place.join("pki")
}

/// Makes what is missing of the control plane's keys of a local cluster.
pub(crate) fn ensure(place: &Place, state: &State) -> Result<(), Error> {
    let addresses = [
        state.ranges.kubernetes_service().into(),
        state.ranges.api_address().into(),
    ];
    ensure_in(&folder(place), &addresses, (state.uid, state.uid))
}

/// Makes what is missing of the control plane's keys in the folder `own`, for an API that is
/// reached by `addresses`, and gives them to `owner` (user, group).
pub(crate) fn ensure_in(own: &Path, addresses: &[IpAddr], owner: (u32, u32)) -> Result<(), Error> {
    let now = SystemClock.now();
    files::folder(own, 0o700)?;
    let ca = ensure_ca(own, CA, "kubernetes", now)?;
    let front = ensure_ca(own, FRONT_PROXY_CA, "front-proxy-ca", now)?;

    let mut names: Vec<String> = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
    ]
    .map(str::to_owned)
    .to_vec();
    if Path::new("/proc/net/if_inet6").exists() {
        names.push("::1".to_owned());
    }
    names.extend(addresses.iter().map(ToString::to_string));
    names.push(
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    );
    let profile = Profile::server("kube-apiserver", names.iter().map(String::as_str));
    ensure_identity(own, API_SERVER, &ca, &profile, now)?;

    // No CA of its own for the cluster-admins group: the binding comes with the bootstrap roles.
    let clients: [(&str, &str, &[&str]); 4] = [
        (
            ADMIN,
            "kubernetes-admin",
            &["system:masters", "kubeadm:cluster-admins"],
        ),
        (CONTROLLER_MANAGER, "system:kube-controller-manager", &[]),
        (SCHEDULER, "system:kube-scheduler", &[]),
        (
            API_SERVER_KUBELET_CLIENT,
            "kube-apiserver-kubelet-client",
            &["system:masters", "kubeadm:cluster-admins"],
        ),
    ];
    for (file, cn, groups) in clients {
        let profile = Profile::client(cn, groups.iter().copied());
        ensure_identity(own, file, &ca, &profile, now)?;
    }
    let profile = Profile::client("front-proxy-client", []);
    ensure_identity(own, FRONT_PROXY_CLIENT, &front, &profile, now)?;
    ensure_signing_key(own)?;
    hand_over(own, owner)
}

/// Makes what is missing of a local node's keys.
pub(crate) fn ensure_node(place: &Place, state: &State, index: usize) -> Result<(), Error> {
    let name = &state.nodes[index];
    let own = node::folder(place, name).join("data").join("pki");
    let address = state.ranges.node_address(index).into();
    ensure_node_in(&folder(place), &own, name, address)
}

/// Makes what is missing of the keys of node `name` in the folder `own`, signed by the CA in
/// `authority`.
pub(crate) fn ensure_node_in(
    authority: &Path,
    own: &Path,
    name: &str,
    address: IpAddr,
) -> Result<(), Error> {
    let now = SystemClock.now();
    let ca = &pki::files::load_ca(authority, CA).map_err(pki_error("read", CA))?;
    files::folder(own, 0o700)?;
    let cn = format!("system:node:{name}");
    let profile = Profile::client(&cn, ["system:nodes"]);
    ensure_identity(own, KUBELET_CLIENT, ca, &profile, now)?;
    // The account that upstream's DNS pods have; its rights are the role system:coredns.
    let groups = [
        "system:serviceaccounts",
        "system:serviceaccounts:kube-system",
    ];
    let profile = Profile::client("system:serviceaccount:kube-system:coredns", groups);
    ensure_identity(own, DNS_CLIENT, ca, &profile, now)?;
    // The user of the role binding system:node-proxier.
    let profile = Profile::client("system:kube-proxy", []);
    ensure_identity(own, PROXY_CLIENT, ca, &profile, now)?;
    let profile = Profile {
        cn,
        organizations: vec!["system:nodes".to_owned()],
        sans: vec![San::Dns(name.to_owned()), San::Ip(address)],
        usages: vec![Usage::Server],
        lifetime: YEAR,
    };
    ensure_identity(own, KUBELET, ca, &profile, now)?;
    pki::files::save(&own.join("ca.crt"), ca.cert_pem()).map_err(pki_error("write", "ca.crt"))
}

/// The administrator's certificate, its key and the CA's certificate, as PEM.
pub(crate) fn admin(place: &Place) -> Result<(Identity, String), Error> {
    admin_in(&folder(place))
}

/// The same of the keys in the folder `own`.
pub(crate) fn admin_in(own: &Path) -> Result<(Identity, String), Error> {
    let identity = pki::files::load_identity(own, ADMIN).map_err(pki_error("read", ADMIN))?;
    let ca = pki::files::load(&own.join("ca.crt")).map_err(pki_error("read", CA))?;
    Ok((identity, ca))
}

fn is_there(folder: &Path, name: &str) -> bool {
    // The certificate is written last: with it both are there.
    folder.join(format!("{name}.key")).exists() && folder.join(format!("{name}.crt")).exists()
}

fn ensure_ca(folder: &Path, name: &str, cn: &str, now: Timestamp) -> Result<Ca, Error> {
    if is_there(folder, name) {
        return pki::files::load_ca(folder, name).map_err(pki_error("read", name));
    }
    let ca = Ca::generate(cn, now).map_err(pki_error("make", name))?;
    pki::files::save_ca(folder, name, &ca).map_err(pki_error("write", name))?;
    Ok(ca)
}

fn ensure_identity(
    folder: &Path,
    name: &str,
    ca: &Ca,
    profile: &Profile,
    now: Timestamp,
) -> Result<(), Error> {
    if is_there(folder, name) {
        return Ok(());
    }
    let identity = ca.issue(profile, now).map_err(pki_error("issue", name))?;
    pki::files::save_identity(folder, name, &identity).map_err(pki_error("write", name))
}

fn ensure_signing_key(folder: &Path) -> Result<(), Error> {
    let (secret, public) = (folder.join("sa.key"), folder.join("sa.pub"));
    if secret.exists() && public.exists() {
        return Ok(());
    }
    let key = KeyPair::generate().map_err(pki_error("make", SERVICE_ACCOUNT))?;
    pki::files::save_secret(&secret, key.pem()).map_err(pki_error("write", SERVICE_ACCOUNT))?;
    pki::files::save(&public, &key.public_pem()).map_err(pki_error("write", SERVICE_ACCOUNT))
}

/// Gives the folder and its files to the control plane's user.
fn hand_over(folder: &Path, (uid, gid): (u32, u32)) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder).map_err(Error::file("list", folder))? {
        let path = entry.map_err(Error::file("list", folder))?.path();
        files::give(&path, uid, gid)?;
    }
    files::give(folder, uid, gid)
}

fn pki_error(operation: &'static str, object: &str) -> impl FnOnce(pki::PkiError) -> Error {
    let object = format!("certificate {object}");
    move |cause| Error::Pki {
        operation,
        object,
        cause: Box::new(cause),
    }
}

#[cfg(test)]
mod tests;
