//! Node ports of one Service, and the port under which a load balancer asks for its health.
//!
//! Ports in use are those of all stored Services; there is no other record of them.
//! Source: kubernetes v1.36.3 pkg/registry/core/service/storage/alloc.go (initNodePorts,
//! updateNodePorts, allocHealthCheckNodePort), storage.go (patchAllocatedValues),
//! pkg/registry/core/service/portallocator.

use std::collections::{HashMap, HashSet};

use api::{FieldError, Path, Status};
use schema::{Dom, Node, Ref};

use crate::edit::{items, map, text};
use crate::hooks::Context;

const RANGE: std::ops::RangeInclusive<i64> = 30000..=32767;
/// The lowest ports are left to those who name theirs.
const RESERVED: i64 = 86;
const TAKEN: &str = "provided port is already allocated";

/// Whether each of its ports gets a node port.
fn wants_ports(spec: Ref<'_>) -> bool {
    match spec.str("type") {
        "NodePort" => true,
        "LoadBalancer" => spec.bool("allocateLoadBalancerNodePorts") != Some(false),
        _ => false,
    }
}

/// Whether its traffic comes from outside.
pub(super) fn uses_ports(spec: Ref<'_>) -> bool {
    matches!(spec.str("type"), "NodePort" | "LoadBalancer")
}

/// Whether a load balancer must ask which nodes have endpoints.
pub(super) fn wants_health(spec: Ref<'_>) -> bool {
    spec.str("type") == "LoadBalancer" && spec.str("externalTrafficPolicy") == "Local"
}

/// The node ports of a Service.
pub(super) fn numbers(spec: Ref<'_>) -> HashSet<i64> {
    let ports = spec.items("ports").filter_map(|port| port.int("nodePort"));
    ports.filter(|port| *port != 0).collect()
}

/// The port of health checks; 0 for none.
pub(super) fn health(spec: Ref<'_>) -> i64 {
    spec.int("healthCheckNodePort").unwrap_or(0)
}

fn int(dom: &Dom, map: Node, key: &str) -> i64 {
    dom.at_node(map).int(key).unwrap_or(0)
}

/// One Service that gets ports.
pub(super) struct Ports<'a, 'c> {
    cx: &'a Context<'c>,
    name: &'a str,
    /// Ports of all Services, this one's old ones among them, once somebody asked.
    used: Option<HashSet<i64>>,
    /// Ports that this write took.
    own: HashSet<i64>,
}

impl<'a, 'c> Ports<'a, 'c> {
    pub(super) fn of(cx: &'a Context<'c>, name: &'a str) -> Self {
        Self {
            cx,
            name,
            used: None,
            own: HashSet::new(),
        }
    }

    /// Fills in what is missing and refuses what others have.
    pub(super) fn allocate(mut self, dom: &mut Dom, old: Option<Ref<'_>>) -> Result<(), Status> {
        let root = dom.root();
        let Some(spec) = map(dom, root, "spec") else {
            return Ok(());
        };
        let before = old.and_then(|old| old.get("spec"));
        if let Some(before) = before {
            patch(dom, spec, before);
        }
        if uses_ports(dom.at_node(spec)) {
            match before {
                Some(before) => self.update(dom, spec, &numbers(before))?,
                None => self.create(dom, spec)?,
            }
        }
        let had_health = before.is_some_and(wants_health);
        if wants_health(dom.at_node(spec)) && !had_health {
            self.health(dom, spec)?;
        }
        Ok(())
    }

    /// Ports of the same number and different protocols share a node port.
    fn create(&mut self, dom: &mut Dom, spec: Node) -> Result<(), Status> {
        let wanted = wants_ports(dom.at_node(spec));
        let ports = items(dom, spec, "ports");
        let mut shared: HashMap<i64, i64> = HashMap::new();
        for (index, &port) in ports.iter().enumerate() {
            let given = int(dom, port, "nodePort");
            if given == 0 && !wanted {
                continue;
            }
            let number = int(dom, port, "port");
            match shared.get(&number) {
                None => {
                    let asked = ports
                        .iter()
                        .filter(|&&other| int(dom, other, "port") == number)
                        .map(|&other| int(dom, other, "nodePort"))
                        .find(|asked| *asked != 0);
                    let chosen = match asked {
                        Some(asked) => self.named(index, asked)?,
                        None => self.any("nodePort")?,
                    };
                    dom.set_int(port, "nodePort", chosen);
                    shared.insert(number, chosen);
                }
                Some(&chosen) if given == 0 => dom.set_int(port, "nodePort", chosen),
                Some(&chosen) if given != chosen => {
                    self.named(index, given)?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn update(&mut self, dom: &mut Dom, spec: Node, old: &HashSet<i64>) -> Result<(), Status> {
        let wanted = wants_ports(dom.at_node(spec));
        let mut seen = HashSet::new();
        for (index, port) in items(dom, spec, "ports").into_iter().enumerate() {
            let mut number = int(dom, port, "nodePort");
            if number == 0 {
                if !wanted {
                    continue;
                }
                number = self.any("nodePort")?;
                dom.set_int(port, "nodePort", number);
            } else if !old.contains(&number) && !self.own.contains(&number) {
                self.named(index, number)?;
            }
            let protocol = text(dom, port, "protocol").to_owned();
            if !seen.insert((protocol.clone(), number)) {
                return Err(Status::plain_error(&format!(
                    "duplicate nodePort: {{{protocol} {number}}}"
                )));
            }
        }
        Ok(())
    }

    fn health(&mut self, dom: &mut Dom, spec: Node) -> Result<(), Status> {
        let given = health(dom.at_node(spec));
        if given == 0 {
            let number = self.any("HealthCheck NodePort 0")?;
            dom.set_int(spec, "healthCheckNodePort", number);
            return Ok(());
        }
        self.reserve(given).map_err(|cause| {
            Status::internal(&format!(
                "failed to allocate requested HealthCheck NodePort {given}: {cause}"
            ))
        })
    }

    fn named(&mut self, index: usize, number: i64) -> Result<i64, Status> {
        self.reserve(number).map_err(|cause| {
            let at = Path::new("spec").child("ports").index(index);
            let error = FieldError::invalid(&at.child("nodePort"), number, cause);
            Status::invalid(&self.cx.resource.group_kind(), self.name, &[error])
        })?;
        Ok(number)
    }

    /// Takes a port; a dry run does not ask whether it is in the range.
    fn reserve(&mut self, number: i64) -> Result<(), String> {
        if !self.cx.dry_run && !RANGE.contains(&number) {
            return Err(format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                RANGE.start(),
                RANGE.end()
            ));
        }
        if self.used().contains(&number) || !self.own.insert(number) {
            return Err(TAKEN.to_owned());
        }
        Ok(())
    }

    /// Any free port. A dry run shows numbers beyond the range.
    fn any(&mut self, what: &str) -> Result<i64, Status> {
        let found = if self.cx.dry_run {
            self.own
                .iter()
                .max()
                .map_or(RANGE.end() + 2, |last| last + 1)
        } else {
            let upper = RANGE.start() + RESERVED;
            let size = RANGE.end() - upper + 1;
            let random = (self.cx.below)(size.unsigned_abs());
            let start = i64::try_from(random).unwrap_or(0);
            let (used, own) = (self.used().clone(), &self.own);
            (0..size)
                .map(|step| upper + (start + step) % size)
                .chain(*RANGE.start()..upper)
                .find(|port| !used.contains(port) && !own.contains(port))
                .ok_or_else(|| {
                    Status::internal(&format!("failed to allocate a {what}: range is full"))
                })?
        };
        self.own.insert(found);
        Ok(found)
    }

    fn used(&mut self) -> &HashSet<i64> {
        let cx = self.cx;
        self.used.get_or_insert_with(|| {
            let mut used = HashSet::new();
            for service in cx.lookup.list("services/specs", "") {
                if let Some(spec) = service.as_ref().get("spec") {
                    used.extend(numbers(spec));
                    used.extend(Some(health(spec)).filter(|port| *port != 0));
                }
            }
            used
        })
    }
}

/// Puts back what a client left out that does not know what was allocated.
fn patch(dom: &mut Dom, spec: Node, old: Ref<'_>) {
    let new = dom.at_node(spec);
    if wants_ports(old) && wants_ports(new) {
        let mut given = numbers(new);
        given.retain(|number| numbers(old).contains(number));
        let by_name: HashMap<&str, i64> = old
            .items("ports")
            .map(|port| (port.str("name"), port.int("nodePort").unwrap_or(0)))
            .collect();
        for port in items(dom, spec, "ports") {
            if int(dom, port, "nodePort") != 0 {
                continue;
            }
            let known = by_name.get(text(dom, port, "name")).copied();
            if let Some(number) = known.filter(|number| *number != 0 && !given.contains(number)) {
                dom.set_int(port, "nodePort", number);
            }
        }
    }
    let new = dom.at_node(spec);
    if wants_health(old) && wants_health(new) && health(new) == 0 && health(old) != 0 {
        dom.set_int(spec, "healthCheckNodePort", health(old));
    }
}
