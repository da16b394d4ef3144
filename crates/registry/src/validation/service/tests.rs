//! Services on clusters of one family and of both: created, changed, refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::{Expect, expect};
use schema::Dom;

use crate::hooks::{Context, Extra, Extras, Lookup, User};
use crate::strategy::Strategy;

const FOUR: &[&str] = &["10.0.0.0/24"];
const BOTH: &[&str] = &["10.0.0.0/24", "2000::/108"];
const SIX_FIRST: &[&str] = &["2000::/108", "10.0.0.0/24"];

/// Addresses that are taken, and stored Services.
#[derive(Default)]
struct World {
    taken: Vec<&'static str>,
    services: Vec<Dom>,
}

impl Lookup for World {
    fn get(&self, _: &str, _: &str, name: &str) -> Option<Dom> {
        self.taken.contains(&name).then(Dom::new)
    }

    fn list(&self, _: &str, _: &str) -> Vec<Dom> {
        self.services.clone()
    }
}

/// A Service of one line of JSON for its spec, with the defaults.
fn service(spec: &str) -> Dom {
    let text = format!(r#"{{"metadata":{{"name":"s","namespace":"n"}},"spec":{spec}}}"#);
    let mut dom = Dom::parse_json(text.as_bytes()).unwrap();
    crate::defaults::service(&mut dom);
    dom
}

/// Runs a step with a cluster of these ranges.
fn within<T>(
    ranges: &[&str],
    world: &World,
    dry_run: bool,
    step: impl FnOnce(&Context<'_>, &Strategy) -> T,
) -> T {
    let mut rows = crate::RESOURCES.iter();
    let resource = rows.find(|row| row.kind == "Service").unwrap();
    let ranges: Vec<ipnet::IpNet> = ranges.iter().map(|range| range.parse().unwrap()).collect();
    let user = User::default();
    let cx = Context {
        resource,
        view: &resource.views[0],
        now: jiff::Timestamp::UNIX_EPOCH,
        user: &user,
        namespace: "n",
        subresource: "",
        lookup: world,
        below: &|_| 0,
        dry_run,
        service_ranges: &ranges,
    };
    step(&cx, &resource.strategy)
}

/// What the API server does between admission and the store.
fn write(
    ranges: &[&str],
    world: &World,
    dry_run: bool,
    new: &mut Dom,
    old: Option<&Dom>,
) -> Result<Extras, String> {
    within(ranges, world, dry_run, |cx, strategy| {
        let mut extras = Extras::default();
        let allocate = strategy.allocate.unwrap();
        allocate(cx, Some(new), old.map(Dom::as_ref), &mut extras).map_err(|e| e.message)?;
        let mut errors = Vec::new();
        match old {
            None => {
                (strategy.prepare_create)(cx, new);
                (strategy.validate_create)(new.as_ref(), &mut errors);
            }
            Some(old) => {
                (strategy.prepare_update)(cx, new, old.as_ref());
                (strategy.validate_update)(new.as_ref(), old.as_ref(), &mut errors);
            }
        }
        if errors.is_empty() {
            return Ok(extras);
        }
        Err(api::Status::invalid(&cx.resource.group_kind(), "s", &errors).message)
    })
}

/// What a deletion gives back.
fn release(ranges: &[&str], world: &World, old: &Dom) -> String {
    within(ranges, world, false, |cx, strategy| {
        let mut extras = Extras::default();
        strategy.allocate.unwrap()(cx, None, Some(old.as_ref()), &mut extras).unwrap();
        told(Ok(extras), old)
    })
}

/// The linked fields, the ports, and what the write takes and gives back.
fn told(written: Result<Extras, String>, dom: &Dom) -> String {
    let extras = match written {
        Ok(extras) => extras,
        Err(message) => return message,
    };
    let spec = dom.as_ref().get("spec").unwrap();
    let shown = |key: &str| {
        let node = spec.get(key)?;
        Some(String::from_utf8(node.to_json()).unwrap().replace('"', ""))
    };
    let mut out = String::new();
    for key in [
        "type",
        "clusterIP",
        "clusterIPs",
        "ipFamilies",
        "ipFamilyPolicy",
        "healthCheckNodePort",
    ] {
        let value = shown(key).unwrap_or_else(|| "-".to_owned());
        if key != "healthCheckNodePort" || value != "-" {
            write!(out, "{value} ").unwrap();
        }
    }
    for port in spec.items("ports") {
        if let Some(number) = port.int("nodePort") {
            write!(out, "node={number} ").unwrap();
        }
    }
    for extra in extras.writes {
        match extra {
            Extra::Create { name, object, .. } => {
                let labels = object.as_ref().at(&["metadata", "labels"]).unwrap();
                let family = labels.str("ipaddress.kubernetes.io/ip-family").to_owned();
                write!(out, "+{name}({family}) ").unwrap();
            }
            Extra::Delete { name, .. } => write!(out, "-{name} ").unwrap(),
            Extra::Update { .. } => out.push_str("update "),
        }
    }
    out.trim_end().to_owned()
}

fn created(ranges: &[&str], spec: &str) -> String {
    let world = World {
        taken: vec!["10.0.0.9", "2000::9"],
        ..World::default()
    };
    let mut new = service(spec);
    let written = write(ranges, &world, false, &mut new, None);
    told(written, &new)
}

/// A new Service: ranges of the cluster, spec.
#[track_caller]
fn check(ranges: &[&str], spec: &str, expect: Expect) {
    expect.assert_eq(&created(ranges, spec));
}

/// A change of a Service that was created on the same cluster: each of `changes` is merged into
/// what was stored (a null removes), `replace` is a PUT.
#[track_caller]
fn check_change(ranges: &[&str], spec: &str, changes: &[&str], expect: Expect) {
    let world = World::default();
    let mut old = service(spec);
    write(ranges, &world, false, &mut old, None).unwrap();
    let mut lines = Vec::new();
    for change in changes {
        let mut new = merged(&old, change);
        let written = write(ranges, &world, false, &mut new, Some(&old));
        let fine = written.is_ok();
        lines.push(told(written, &new));
        if fine {
            old = new;
        }
    }
    expect.assert_eq(&lines.join("\n"));
}

fn merged(old: &Dom, change: &str) -> Dom {
    if let Some(spec) = change.strip_prefix("PUT ") {
        return service(spec);
    }
    let mut new = old.clone();
    let change = Dom::parse_json(change.as_bytes()).unwrap();
    let root = new.root();
    let spec = new.get(root, "spec").unwrap();
    let entries: BTreeMap<&str, schema::Ref<'_>> = change.as_ref().map().collect();
    for (key, value) in entries {
        if value.is_null() {
            new.remove(spec, key);
        } else {
            let copy = new.import(value.dom(), value.node());
            new.set(spec, key, copy);
        }
    }
    crate::defaults::service(&mut new);
    new
}

const PORT: &str = r#""ports":[{"port":80}]"#;

/// The rest of a spec with one port, unless it has its own.
fn with(rest: &str) -> String {
    if rest.contains(r#""ports""#) {
        return format!("{{{rest}}}");
    }
    format!("{{{PORT}{}{rest}}}", if rest.is_empty() { "" } else { "," })
}

const NONE: &str = r#""clusterIP":"None","selector":{"a":"b"}"#;
const LONE: &str = r#""clusterIP":"None""#;
const SINGLE: &str = r#""ipFamilyPolicy":"SingleStack""#;
const PREFER: &str = r#""ipFamilyPolicy":"PreferDualStack""#;
const REQUIRE: &str = r#""ipFamilyPolicy":"RequireDualStack""#;

/// Several new Services with one port each, a line for each.
#[track_caller]
fn table(ranges: &[&str], rows: &[&str], expect: Expect) {
    let lines: Vec<String> = rows
        .iter()
        .map(|rest| created(ranges, &with(rest)))
        .collect();
    expect.assert_eq(&lines.join("\n"));
}

/// Changes of one Service with a port.
#[track_caller]
fn changes(ranges: &[&str], rest: &str, changes: &[&str], expect: Expect) {
    check_change(ranges, &with(rest), changes, expect);
}

fn join(parts: &[&str]) -> String {
    parts.join(",")
}

#[test]
fn created_on_one_family() {
    let rows = [
        "",
        SINGLE,
        PREFER,
        REQUIRE,
        r#""ipFamilies":["IPv4"]"#,
        r#""ipFamilies":["IPv6"]"#,
        &join(&[PREFER, r#""ipFamilies":["IPv4","IPv6"]"#]),
        &join(&[REQUIRE, r#""ipFamilies":["IPv4","IPv6"]"#]),
        r#""ipFamilies":["IPv4","IPv6"]"#,
        r#""ipFamilies":["IPv4","IPv4"],"ipFamilyPolicy":"Both""#,
        r#""clusterIP":"10.0.0.5""#,
        r#""clusterIP":"10.0.0.9""#,
        r#""clusterIP":"10.0.0.0""#,
        r#""clusterIP":"10.0.1.1""#,
        r#""clusterIP":"2000::5""#,
        &join(&[
            PREFER,
            r#""clusterIP":"10.0.0.5","clusterIPs":["10.0.0.5","2000::5"]"#,
        ]),
        r#""clusterIPs":["10.0.0.5"]"#,
        r#""clusterIP":"10.0.0.5","clusterIPs":["10.0.0.6"]"#,
        r#""clusterIP":"10.0.0.5","clusterIPs":["10.0.0.5","10.0.0.6","10.0.0.7"]"#,
        r#""clusterIP":"010.0.0.5""#,
        r#""clusterIP":"::ffff:10.0.0.5""#,
        r#""clusterIP":"here""#,
        r#""clusterIP":"None","clusterIPs":["None","10.0.0.5"]"#,
        r#""clusterIP":"10.0.0.5","ipFamilies":["IPv6"]"#,
        NONE,
        &join(&[NONE, PREFER]),
        &join(&[NONE, REQUIRE]),
        &join(&[NONE, r#""ipFamilies":["IPv6"]"#]),
        LONE,
        &join(&[LONE, SINGLE]),
        &join(&[LONE, PREFER]),
        &join(&[LONE, r#""ipFamilies":["IPv6"]"#]),
        &join(&[LONE, SINGLE, r#""ipFamilies":["IPv6"]"#]),
        &join(&[LONE, SINGLE, r#""ipFamilies":["IPv6","IPv4"]"#]),
        r#""type":"NodePort","clusterIP":"None""#,
        r#""type":"ExternalName","externalName":"a.b.""#,
        r#""type":"ExternalName","clusterIP":"10.0.0.5","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack""#,
        r#""type":"Odd""#,
    ];
    table(
        FOUR,
        &rows,
        expect![[r#"
        ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] SingleStack +10.0.0.17(IPv4)
        ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] SingleStack +10.0.0.17(IPv4)
        ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] PreferDualStack +10.0.0.17(IPv4)
        Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services
        ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] SingleStack +10.0.0.17(IPv4)
        Service "s" is invalid: spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster
        Service "s" is invalid: spec.ipFamilies[1]: Invalid value: "IPv6": not configured on this cluster
        Service "s" is invalid: [spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services, spec.ipFamilies[1]: Invalid value: "IPv6": not configured on this cluster]
        Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "SingleStack": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified
        Service "s" is invalid: [spec.ipFamilies[1]: Duplicate value: "IPv4", spec.ipFamilyPolicy: Unsupported value: "Both": supported values: "PreferDualStack", "RequireDualStack", "SingleStack"]
        ClusterIP 10.0.0.5 [10.0.0.5] [IPv4] SingleStack +10.0.0.5(IPv4)
        Service "s" is invalid: spec.clusterIPs: Invalid value: ["10.0.0.9"]: failed to allocate IP 10.0.0.9: provided IP is already allocated
        Service "s" is invalid: spec.clusterIPs: Invalid value: ["10.0.0.0"]: failed to allocate IP 10.0.0.0: the provided network does not match the current range
        Service "s" is invalid: spec.clusterIPs: Invalid value: ["10.0.1.1"]: failed to allocate IP 10.0.1.1: the provided network does not match the current range
        Service "s" is invalid: spec.clusterIPs[0]: Invalid value: ["2000::5"]: IPv6 is not configured on this cluster
        Service "s" is invalid: spec.clusterIPs[1]: Invalid value: ["10.0.0.5","2000::5"]: IPv6 is not configured on this cluster
        Service "s" is invalid: spec.clusterIPs: Invalid value: ["10.0.0.5"]: must be empty when `clusterIP` is not specified
        Service "s" is invalid: spec.clusterIPs: Invalid value: ["10.0.0.6"]: first value must match `clusterIP`
        Service "s" is invalid: [spec.clusterIPs: Invalid value: ["10.0.0.5","10.0.0.6","10.0.0.7"]: may only hold up to 2 values, spec.clusterIPs: Invalid value: ["10.0.0.5","10.0.0.6","10.0.0.7"]: may specify no more than one IP for each IP family]
        Service "s" is invalid: spec.clusterIPs[0]: Invalid value: "010.0.0.5": must not have leading 0s
        Service "s" is invalid: spec.clusterIPs[0]: Invalid value: "::ffff:10.0.0.5": must not be an IPv4-mapped IPv6 address
        Service "s" is invalid: spec.clusterIPs[0]: Invalid value: "here": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        Service "s" is invalid: spec.clusterIPs: Invalid value: ["None","10.0.0.5"]: 'None' must be the first and only value
        Service "s" is invalid: spec.clusterIPs[0]: Invalid value: "10.0.0.5": expected an IPv6 value as indicated by `ipFamilies[0]`
        ClusterIP None [None] [IPv4] SingleStack
        ClusterIP None [None] [IPv4] PreferDualStack
        Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services
        Service "s" is invalid: spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster
        ClusterIP None [None] [IPv4,IPv6] RequireDualStack
        ClusterIP None [None] [IPv4] SingleStack
        ClusterIP None [None] [IPv4,IPv6] PreferDualStack
        ClusterIP None [None] [IPv6,IPv4] RequireDualStack
        ClusterIP None [None] [IPv6] SingleStack
        Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "SingleStack": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified
        Service "s" is invalid: spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services
        ExternalName - - - -
        Service "s" is invalid: [spec.clusterIPs: Forbidden: may not be set for ExternalName services, spec.ipFamilies: Forbidden: may not be set for ExternalName services, spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services, spec.externalName: Required value]
        Service "s" is invalid: spec.type: Unsupported value: "Odd": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort""#]],
    );
}

#[test]
fn created_on_both_families() {
    let rows = [
        "",
        SINGLE,
        PREFER,
        REQUIRE,
        r#""ipFamilies":["IPv6"]"#,
        &join(&[PREFER, r#""ipFamilies":["IPv6"]"#]),
        &join(&[REQUIRE, r#""ipFamilies":["IPv6","IPv4"]"#]),
        r#""ipFamilies":["IPv4","IPv6"]"#,
        &join(&[SINGLE, r#""ipFamilies":["IPv4","IPv6"]"#]),
        r#""clusterIP":"2000::5""#,
        &join(&[PREFER, r#""clusterIP":"2000::5""#]),
        &join(&[REQUIRE, r#""clusterIP":"2000:0::5""#]),
        r#""clusterIP":"10.0.0.5","clusterIPs":["10.0.0.5","2000::5"]"#,
        &join(&[
            PREFER,
            r#""clusterIP":"10.0.0.5","clusterIPs":["10.0.0.5","2000::5"]"#,
        ]),
        &join(&[
            REQUIRE,
            r#""clusterIP":"2000::5","clusterIPs":["2000::5","10.0.0.5"]"#,
        ]),
        &join(&[
            REQUIRE,
            r#""clusterIP":"10.0.0.5","clusterIPs":["10.0.0.5","10.0.0.6"]"#,
        ]),
        &join(&[
            REQUIRE,
            r#""clusterIP":"10.0.0.5","clusterIPs":["10.0.0.5","2000::9"]"#,
        ]),
        &join(&[
            REQUIRE,
            r#""clusterIP":"10.0.0.5","clusterIPs":["10.0.0.5","2000::5"],"ipFamilies":["IPv6","IPv4"]"#,
        ]),
        NONE,
        &join(&[NONE, PREFER]),
        &join(&[NONE, REQUIRE, r#""ipFamilies":["IPv6"]"#]),
        LONE,
        &join(&[LONE, r#""ipFamilies":["IPv6"]"#]),
    ];
    table(
        BOTH,
        &rows,
        expect![[r#"
        ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] SingleStack +10.0.0.17(IPv4)
        ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] SingleStack +10.0.0.17(IPv4)
        ClusterIP 10.0.0.17 [10.0.0.17,2000::101] [IPv4,IPv6] PreferDualStack +10.0.0.17(IPv4) +2000::101(IPv6)
        ClusterIP 10.0.0.17 [10.0.0.17,2000::101] [IPv4,IPv6] RequireDualStack +10.0.0.17(IPv4) +2000::101(IPv6)
        ClusterIP 2000::101 [2000::101] [IPv6] SingleStack +2000::101(IPv6)
        ClusterIP 2000::101 [2000::101,10.0.0.17] [IPv6,IPv4] PreferDualStack +2000::101(IPv6) +10.0.0.17(IPv4)
        ClusterIP 2000::101 [2000::101,10.0.0.17] [IPv6,IPv4] RequireDualStack +2000::101(IPv6) +10.0.0.17(IPv4)
        Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "SingleStack": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified
        Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "SingleStack": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified
        ClusterIP 2000::5 [2000::5] [IPv6] SingleStack +2000::5(IPv6)
        ClusterIP 2000::5 [2000::5,10.0.0.17] [IPv6,IPv4] PreferDualStack +2000::5(IPv6) +10.0.0.17(IPv4)
        ClusterIP 2000:0::5 [2000:0::5,10.0.0.17] [IPv6,IPv4] RequireDualStack +2000::5(IPv6) +10.0.0.17(IPv4)
        Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "SingleStack": must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified
        ClusterIP 10.0.0.5 [10.0.0.5,2000::5] [IPv4,IPv6] PreferDualStack +10.0.0.5(IPv4) +2000::5(IPv6)
        ClusterIP 2000::5 [2000::5,10.0.0.5] [IPv6,IPv4] RequireDualStack +2000::5(IPv6) +10.0.0.5(IPv4)
        Service "s" is invalid: spec.clusterIPs: Invalid value: ["10.0.0.5","10.0.0.6"]: may specify no more than one IP for each IP family
        Service "s" is invalid: spec.clusterIPs: Invalid value: ["10.0.0.5","2000::9"]: failed to allocate IP 2000::9: provided IP is already allocated
        Service "s" is invalid: [spec.clusterIPs[0]: Invalid value: "10.0.0.5": expected an IPv6 value as indicated by `ipFamilies[0]`, spec.clusterIPs[1]: Invalid value: "2000::5": expected an IPv4 value as indicated by `ipFamilies[1]`]
        ClusterIP None [None] [IPv4] SingleStack
        ClusterIP None [None] [IPv4,IPv6] PreferDualStack
        ClusterIP None [None] [IPv6,IPv4] RequireDualStack
        ClusterIP None [None] [IPv4,IPv6] RequireDualStack
        ClusterIP None [None] [IPv6,IPv4] RequireDualStack"#]],
    );
    let rows = ["", PREFER, r#""clusterIP":"10.0.0.5""#, LONE];
    table(
        SIX_FIRST,
        &rows,
        expect![[r#"
        ClusterIP 2000::101 [2000::101] [IPv6] SingleStack +2000::101(IPv6)
        ClusterIP 2000::101 [2000::101,10.0.0.17] [IPv6,IPv4] PreferDualStack +2000::101(IPv6) +10.0.0.17(IPv4)
        ClusterIP 10.0.0.5 [10.0.0.5] [IPv4] SingleStack +10.0.0.5(IPv4)
        ClusterIP None [None] [IPv6,IPv4] RequireDualStack"#]],
    );
}

#[test]
fn changed_on_one_family() {
    changes(
        FOUR,
        "",
        &[
            &format!("PUT {}", with("")),
            r#"{"ipFamilyPolicy":"PreferDualStack"}"#,
            r#"{"ipFamilyPolicy":"RequireDualStack"}"#,
            r#"{"ipFamilyPolicy":null}"#,
            r#"{"ipFamilies":["IPv6"]}"#,
            r#"{"ipFamilies":["IPv4","IPv6"]}"#,
            r#"{"clusterIP":"10.0.0.6"}"#,
            r#"{"clusterIP":"None"}"#,
            r#"{"clusterIPs":["10.0.0.6"]}"#,
            r#"{"clusterIP":"","clusterIPs":null}"#,
            r#"{"clusterIPs":["10.0.0.17","2000::5"]}"#,
            r#"{"type":"ExternalName","externalName":"a.b"}"#,
            r#"{"type":"ClusterIP","clusterIP":"10.0.0.7"}"#,
            r#"{"type":"ExternalName","clusterIP":"10.0.0.8"}"#,
            r#"{"type":"ExternalName","clusterIP":""}"#,
            r#"{"type":"ClusterIP","ipFamilyPolicy":"RequireDualStack"}"#,
            r#"{"type":"NodePort"}"#,
            r#"{"type":"ClusterIP"}"#,
            r#"{"type":"LoadBalancer","externalTrafficPolicy":"Local"}"#,
            r#"{"type":"ExternalName"}"#,
        ],
        expect![[r#"
            ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] SingleStack
            ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] PreferDualStack
            Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services
            ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] PreferDualStack
            Service "s" is invalid: spec.clusterIPs[0]: Invalid value: "10.0.0.17": expected an IPv6 value as indicated by `ipFamilies[0]`
            Service "s" is invalid: spec.ipFamilies[1]: Invalid value: "IPv6": not configured on this cluster
            Service "s" is invalid: spec.clusterIPs[0]: Invalid value: ["10.0.0.6"]: may not change once set
            Service "s" is invalid: spec.clusterIPs[0]: Invalid value: ["None"]: may not change once set
            Service "s" is invalid: spec.clusterIPs: Invalid value: ["10.0.0.6"]: first value must match `clusterIP`
            ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] PreferDualStack
            Service "s" is invalid: spec.clusterIPs[1]: Invalid value: ["10.0.0.17","2000::5"]: IPv6 is not configured on this cluster
            ExternalName - - - - -10.0.0.17
            ClusterIP 10.0.0.7 [10.0.0.7] [IPv4] SingleStack +10.0.0.7(IPv4)
            Service "s" is invalid: spec.clusterIPs: Forbidden: may not be set for ExternalName services
            ExternalName - - - - -10.0.0.7
            Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services
            NodePort 10.0.0.17 [10.0.0.17] [IPv4] SingleStack node=30086 +10.0.0.17(IPv4)
            ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] SingleStack
            LoadBalancer 10.0.0.17 [10.0.0.17] [IPv4] SingleStack 30087 node=30086
            ExternalName - - - - -10.0.0.17"#]],
    );
    changes(
        FOUR,
        NONE,
        &[
            r#"{"ipFamilies":["IPv6"]}"#,
            r#"{"clusterIP":"10.0.0.6"}"#,
            r#"{"clusterIP":"10.0.0.6","clusterIPs":["10.0.0.6"]}"#,
            r#"{"selector":null,"ipFamilyPolicy":"RequireDualStack"}"#,
            r#"{"ipFamilyPolicy":"SingleStack"}"#,
            r#"{"type":"ExternalName","externalName":"a.b"}"#,
        ],
        expect![[r#"
            Service "s" is invalid: spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster
            Service "s" is invalid: spec.clusterIPs[0]: Invalid value: ["10.0.0.6"]: may not change once set
            Service "s" is invalid: spec.clusterIPs[0]: Invalid value: ["10.0.0.6"]: may not change once set
            ClusterIP None [None] [IPv4,IPv6] RequireDualStack
            ClusterIP None [None] [IPv4] SingleStack
            ExternalName - - - -"#]],
    );
}

#[test]
fn changed_on_both_families() {
    changes(
        BOTH,
        "",
        &[
            r#"{"ipFamilies":["IPv4","IPv6"]}"#,
            r#"{"ipFamilyPolicy":"PreferDualStack"}"#,
            r#"{"ipFamilyPolicy":"RequireDualStack"}"#,
            &format!("PUT {}", with("")),
            &format!("PUT {}", with(r#""clusterIP":"10.0.0.17""#)),
            r#"{"clusterIPs":["10.0.0.17"]}"#,
            r#"{"ipFamilies":["IPv4"]}"#,
            r#"{"clusterIPs":["10.0.0.17"],"ipFamilies":["IPv4"]}"#,
            r#"{"ipFamilies":["IPv6","IPv4"]}"#,
            r#"{"clusterIPs":["10.0.0.17","2000::7"]}"#,
            r#"{"ipFamilyPolicy":"SingleStack"}"#,
            r#"{"ipFamilyPolicy":"RequireDualStack","clusterIPs":["10.0.0.17","2000::7"]}"#,
            r#"{"ipFamilyPolicy":"SingleStack","clusterIPs":["10.0.0.17"],"ipFamilies":["IPv4"]}"#,
            r#"{"ipFamilyPolicy":"PreferDualStack","ipFamilies":["IPv4","IPv6"]}"#,
            r#"{"type":"ExternalName","externalName":"a.b"}"#,
            r#"{"type":"ClusterIP","ipFamilyPolicy":"PreferDualStack"}"#,
        ],
        expect![[r#"
            Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "SingleStack": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified
            ClusterIP 10.0.0.17 [10.0.0.17,2000::101] [IPv4,IPv6] PreferDualStack +2000::101(IPv6)
            ClusterIP 10.0.0.17 [10.0.0.17,2000::101] [IPv4,IPv6] RequireDualStack
            ClusterIP 10.0.0.17 [10.0.0.17,2000::101] [IPv4,IPv6] RequireDualStack
            ClusterIP 10.0.0.17 [10.0.0.17,2000::101] [IPv4,IPv6] RequireDualStack
            Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": must be 'SingleStack' to release the secondary cluster IP
            Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": must be 'SingleStack' to release the secondary IP family
            Service "s" is invalid: [spec.ipFamilyPolicy: Invalid value: "RequireDualStack": must be 'SingleStack' to release the secondary cluster IP, spec.ipFamilyPolicy: Invalid value: "RequireDualStack": must be 'SingleStack' to release the secondary IP family]
            Service "s" is invalid: [spec.clusterIPs[0]: Invalid value: "10.0.0.17": expected an IPv6 value as indicated by `ipFamilies[0]`, spec.clusterIPs[1]: Invalid value: "2000::101": expected an IPv4 value as indicated by `ipFamilies[1]`]
            Service "s" is invalid: spec.clusterIPs[1]: Invalid value: ["10.0.0.17","2000::7"]: may not change once set
            ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] SingleStack -2000::101
            ClusterIP 10.0.0.17 [10.0.0.17,2000::7] [IPv4,IPv6] RequireDualStack +2000::7(IPv6)
            ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] SingleStack -2000::7
            ClusterIP 10.0.0.17 [10.0.0.17,2000::101] [IPv4,IPv6] PreferDualStack +2000::101(IPv6)
            ExternalName - - - - -10.0.0.17 -2000::101
            ClusterIP 10.0.0.17 [10.0.0.17,2000::101] [IPv4,IPv6] PreferDualStack +10.0.0.17(IPv4) +2000::101(IPv6)"#]],
    );
    changes(
        BOTH,
        &join(&[NONE, PREFER]),
        &[
            r#"{"ipFamilyPolicy":"SingleStack"}"#,
            r#"{"ipFamilies":["IPv6"]}"#,
            r#"{"ipFamilyPolicy":"RequireDualStack"}"#,
        ],
        expect![[r#"
            ClusterIP None [None] [IPv4] SingleStack
            ClusterIP None [None] [IPv6] SingleStack
            ClusterIP None [None] [IPv6,IPv4] RequireDualStack"#]],
    );
}

/// A cluster that gains a family leaves those alone that merely prefer both, until they say so.
#[test]
fn changed_after_the_cluster() {
    let world = World::default();
    let mut old = service(&with(PREFER));
    write(FOUR, &world, false, &mut old, None).unwrap();
    let mut lines = Vec::new();
    for change in [
        r#"{"selector":{"a":"b"}}"#,
        r#"{"ipFamilies":["IPv4","IPv6"]}"#,
        r#"{"ipFamilyPolicy":"RequireDualStack"}"#,
    ] {
        let mut new = merged(&old, change);
        let written = write(BOTH, &world, false, &mut new, Some(&old));
        lines.push(told(written, &new));
    }
    let mut dual = service(&with(PREFER));
    write(BOTH, &world, false, &mut dual, None).unwrap();
    let mut new = merged(&dual, r#"{"selector":{"a":"b"}}"#);
    let written = write(FOUR, &world, false, &mut new, Some(&dual));
    lines.push(told(written, &new));
    expect![[r#"
        ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] PreferDualStack
        ClusterIP 10.0.0.17 [10.0.0.17,2000::101] [IPv4,IPv6] PreferDualStack +2000::101(IPv6)
        ClusterIP 10.0.0.17 [10.0.0.17,2000::101] [IPv4,IPv6] RequireDualStack +2000::101(IPv6)
        ClusterIP 10.0.0.17 [10.0.0.17,2000::101] [IPv4,IPv6] PreferDualStack"#]]
    .assert_eq(&lines.join("\n"));
}

/// Nothing is taken, and what is shown is not real.
#[test]
fn dry_runs() {
    let world = World {
        taken: vec!["10.0.0.9"],
        ..World::default()
    };
    let mut lines = Vec::new();
    for rest in [
        "",
        REQUIRE,
        r#""type":"LoadBalancer","externalTrafficPolicy":"Local""#,
        r#""clusterIP":"10.0.0.9""#,
        r#""clusterIP":"10.0.1.1""#,
        r#""type":"NodePort","ports":[{"port":1,"nodePort":5}]"#,
    ] {
        let mut new = service(&with(rest));
        let written = write(BOTH, &world, true, &mut new, None);
        lines.push(told(written, &new));
    }
    expect![[r#"
        ClusterIP 10.0.0.0 [10.0.0.0] [IPv4] SingleStack
        ClusterIP 10.0.0.0 [10.0.0.0,2000::] [IPv4,IPv6] RequireDualStack
        LoadBalancer 10.0.0.0 [10.0.0.0] [IPv4] SingleStack 32770 node=32769
        ClusterIP 10.0.0.9 [10.0.0.9] [IPv4] SingleStack
        Service "s" is invalid: spec.clusterIPs: Invalid value: ["10.0.1.1"]: failed to allocate IP 10.0.1.1: the provided IP (10.0.1.1) is not in the valid range. The range of valid IPs is 10.0.0.0/24
        NodePort 10.0.0.0 [10.0.0.0] [IPv4] SingleStack node=5"#]].assert_eq(&lines.join("\n"));
}

/// Services that were stored before there were families.
#[test]
fn old_ones_are_completed() {
    let mut lines = Vec::new();
    for (spec, change) in [
        (r#""clusterIP":"10.0.0.5""#, "{}"),
        (
            r#""clusterIP":"10.0.0.5""#,
            r#"{"ipFamilyPolicy":"PreferDualStack"}"#,
        ),
        (NONE, "{}"),
        (LONE, "{}"),
    ] {
        let old = service(&with(spec));
        let mut new = merged(&old, change);
        let written = write(BOTH, &World::default(), false, &mut new, Some(&old));
        lines.push(told(written, &new));
    }
    expect![[r#"
        ClusterIP 10.0.0.5 [10.0.0.5] [IPv4] SingleStack
        ClusterIP 10.0.0.5 [10.0.0.5,2000::101] [IPv4,IPv6] PreferDualStack +2000::101(IPv6)
        ClusterIP None [None] [IPv4] SingleStack
        ClusterIP None [None] [IPv4,IPv6] RequireDualStack"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn deleted() {
    let world = World::default();
    let mut lines = Vec::new();
    for rest in ["", REQUIRE, NONE] {
        let mut old = service(&with(rest));
        write(BOTH, &world, false, &mut old, None).unwrap();
        lines.push(release(BOTH, &world, &old));
    }
    expect![[r#"
        ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] SingleStack -10.0.0.17
        ClusterIP 10.0.0.17 [10.0.0.17,2000::101] [IPv4,IPv6] RequireDualStack -10.0.0.17 -2000::101
        ClusterIP None [None] [IPv4] SingleStack"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn node_ports() {
    let ports = |list: &str| format!(r#"{{"type":"NodePort","ports":[{list}]}}"#);
    let world = World {
        services: vec![service(
            r#"{"type":"NodePort","ports":[{"port":1,"nodePort":30500}]}"#,
        )],
        ..World::default()
    };
    let mut lines = Vec::new();
    for list in [
        r#"{"name":"a","port":53},{"name":"b","port":53,"protocol":"UDP"}"#,
        r#"{"name":"a","port":53},{"name":"b","port":53,"protocol":"UDP","nodePort":30001}"#,
        r#"{"name":"a","port":53,"nodePort":30001},{"name":"b","port":54,"nodePort":30001}"#,
        r#"{"port":53,"nodePort":30500}"#,
        r#"{"port":53,"nodePort":1}"#,
    ] {
        let mut new = service(&ports(list));
        let written = write(FOUR, &world, false, &mut new, None);
        lines.push(told(written, &new));
    }
    expect![[r#"
        NodePort 10.0.0.17 [10.0.0.17] [IPv4] SingleStack node=30086 node=30086 +10.0.0.17(IPv4)
        NodePort 10.0.0.17 [10.0.0.17] [IPv4] SingleStack node=30001 node=30001 +10.0.0.17(IPv4)
        Service "s" is invalid: spec.ports[1].nodePort: Invalid value: 30001: provided port is already allocated
        Service "s" is invalid: spec.ports[0].nodePort: Invalid value: 30500: provided port is already allocated
        Service "s" is invalid: spec.ports[0].nodePort: Invalid value: 1: provided port is not in the valid range. The range of valid ports is 30000-32767"#]].assert_eq(&lines.join("\n"));
    let start = ports(r#"{"name":"a","port":80},{"name":"b","port":81}"#);
    check_change(
        FOUR,
        &start,
        &[
            &format!("PUT {start}"),
            &format!(
                "PUT {}",
                ports(r#"{"name":"b","port":81},{"name":"c","port":82}"#)
            ),
            &format!(
                "PUT {}",
                ports(
                    r#"{"name":"c","port":82,"nodePort":30087},{"name":"d","port":83,"nodePort":30087}"#
                )
            ),
            r#"PUT {"type":"ClusterIP","ports":[{"port":82}]}"#,
            r#"PUT {"type":"ClusterIP","ports":[{"port":82,"nodePort":30001}]}"#,
        ],
        expect![[r#"
            NodePort 10.0.0.17 [10.0.0.17] [IPv4] SingleStack node=30086 node=30087
            NodePort 10.0.0.17 [10.0.0.17] [IPv4] SingleStack node=30087 node=30086
            duplicate nodePort: {TCP 30087}
            ClusterIP 10.0.0.17 [10.0.0.17] [IPv4] SingleStack
            Service "s" is invalid: spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"#]],
    );
}

#[test]
fn other_findings() {
    let rows = [
        r#""sessionAffinity":"Odd""#,
        r#""sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":0}}"#,
        r#""externalIPs":["here","127.0.0.1","0.0.0.0","169.254.1.1","224.0.0.1","010.1.1.1","10.1.1.1"]"#,
        r#""loadBalancerSourceRanges":["10.0.0.0/8","10.0.0.1/8"],"loadBalancerClass":"x","allocateLoadBalancerNodePorts":true"#,
        r#""type":"LoadBalancer","loadBalancerClass":"-","loadBalancerSourceRanges":["10.0.0.0/8 ","10.0.0.1/8"]"#,
        r#""externalTrafficPolicy":"Local","internalTrafficPolicy":"Odd","healthCheckNodePort":5,"trafficDistribution":"Odd""#,
        r#""type":"LoadBalancer","externalTrafficPolicy":"Odd""#,
    ];
    table(
        FOUR,
        &rows,
        expect![[r#"
        Service "s" is invalid: spec.sessionAffinity: Unsupported value: "Odd": supported values: "ClientIP", "None"
        Service "s" is invalid: spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400
        Service "s" is invalid: [spec.externalIPs[0]: Invalid value: "here": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff), spec.externalIPs[1]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128), spec.externalIPs[2]: Invalid value: "0.0.0.0": may not be unspecified (0.0.0.0), spec.externalIPs[3]: Invalid value: "169.254.1.1": may not be in the link-local range (169.254.0.0/16, fe80::/10), spec.externalIPs[4]: Invalid value: "224.0.0.1": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10), spec.externalIPs[5]: Invalid value: "010.1.1.1": must not have leading 0s]
        Service "s" is invalid: [spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer', spec.LoadBalancerSourceRanges[1]: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length, spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer', spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer']
        Service "s" is invalid: [spec.LoadBalancerSourceRanges[1]: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length, spec.loadBalancerClass: Invalid value: "-": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')]
        Service "s" is invalid: [spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services, spec.healthCheckNodePort: Invalid value: 5: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local', spec.internalTrafficPolicy: Unsupported value: "Odd": supported values: "Cluster", "Local", spec.trafficDistribution: Unsupported value: "Odd": supported values: "PreferClose", "PreferSameZone", "PreferSameNode"]
        Service "s" is invalid: spec.externalTrafficPolicy: Unsupported value: "Odd": supported values: "Cluster", "Local""#]],
    );
    check(
        FOUR,
        r#"{"ports":[{"name":"A","port":0},{"port":1},{"name":"b","port":2,"protocol":"X","targetPort":"-","appProtocol":"a b"},{"name":"b","port":2,"protocol":"X","nodePort":5},{"name":"c","port":3,"nodePort":5,"protocol":"X"}]}"#,
        expect![[
            r#"Service "s" is invalid: [spec.ports[0].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?'), spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive, spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive, spec.ports[1].name: Required value, spec.ports[2].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP", spec.ports[2].targetPort: Invalid value: "-": must contain at least one letter (a-z), spec.ports[2].targetPort: Invalid value: "-": must not begin or end with a hyphen, spec.ports[2].appProtocol: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'), spec.ports[3].name: Duplicate value: "b", spec.ports[3].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP", spec.ports[4].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP", spec.ports[3].nodePort: Forbidden: may not be used when `type` is 'ClusterIP', spec.ports[4].nodePort: Forbidden: may not be used when `type` is 'ClusterIP', spec.ports[4].nodePort: Duplicate value: 5, spec.ports[3]: Duplicate value: {"Name":"","Protocol":"X","AppProtocol":null,"Port":2,"TargetPort":0,"NodePort":0}]"#
        ]],
    );
}

#[test]
fn status() {
    let mut lines = Vec::new();
    for (kind, ingress) in [
        ("ClusterIP", r#"{"ip":"10.1.1.1"}"#),
        ("LoadBalancer", r#"{"ip":"10.1.1.1"},{"hostname":"a.b"}"#),
        (
            "LoadBalancer",
            r#"{"ip":"010.1.1.1","ipMode":"Odd"},{"hostname":"10.1.1.1","ipMode":"VIP"}"#,
        ),
    ] {
        let old = service(&with(&format!(r#""type":"{kind}""#)));
        let mut new = old.clone();
        let status = format!(r#"{{"loadBalancer":{{"ingress":[{ingress}]}}}}"#);
        let status = Dom::parse_json(status.as_bytes()).unwrap();
        let (root, copy) = (new.root(), new.import(&status, status.root()));
        new.set(root, "status", copy);
        crate::defaults::service(&mut new);
        let mut errors = Vec::new();
        super::validate_status(new.as_ref(), old.as_ref(), &mut errors);
        lines.push(api::Aggregate(&errors).to_string());
    }
    expect![[r#"
        status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'
        []
        [status.loadBalancer.ingress[0].ip: Invalid value: "010.1.1.1": must not have leading 0s, status.loadBalancer.ingress[0].ipMode: Unsupported value: "Odd": supported values: "Proxy", "VIP", status.loadBalancer.ingress[1].ipMode: Forbidden: may not be specified when `ip` is not set, status.loadBalancer.ingress[1].hostname: Invalid value: "10.1.1.1": must be a DNS name, not an IP address]"#]].assert_eq(&lines.join("\n"));
}
