use expect_test::{Expect, expect};

use crate::Labels;
use crate::snapshot::Class;
use crate::testing::{decided, run, world};

/// Upstream's tail about preemption is the same everywhere: left out here.
#[track_caller]
fn check(world: &str, expected: Expect) {
    let text = decided(world);
    expected.assert_eq(text.split(" no new claims").next().unwrap());
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

#[test]
fn fit_counts_scalars_overhead_and_init_containers() {
    let nodes = "node a cpu=4 mem=8 gpu=2 disk=10\n on a x gpu=1\n";
    check(&format!("{nodes} pod p gpu=1"), expect!["a"]);
    check(
        &format!("{nodes} pod p gpu=2"),
        expect!["0/1 nodes are available: 1 Insufficient example.com/gpu."],
    );
    check(
        &format!("{nodes} pod p cpu=2 overhead: {{cpu: 2500m}}"),
        expect!["0/1 nodes are available: 1 Insufficient cpu."],
    );
    check(
        &format!(
            "{nodes} pod p initContainers: [{{name: i, image: x, resources: {{requests: {{memory: 9Gi}}}}}}], containers: [{{name: c, image: x}}]"
        ),
        expect!["0/1 nodes are available: 1 Insufficient memory."],
    );
    check(
        &format!(
            "{nodes} pod p resources: {{requests: {{cpu: 5}}}}, containers: [{{name: c, image: x, resources: {{requests: {{cpu: 1}}}}}}]"
        ),
        expect!["0/1 nodes are available: 1 Insufficient cpu."],
    );
    check(
        &format!(
            "{nodes} pod p containers: [{{name: c, image: x, resources: {{requests: {{ephemeral-storage: 11Gi}}}}}}]"
        ),
        expect!["0/1 nodes are available: 1 Insufficient ephemeral-storage."],
    );
}

/// The emptier node by CPU is the fuller by memory: balance decides.
#[test]
fn balance_counts_what_the_pod_changes() {
    check(
        "node a cpu=10 mem=10
         node b cpu=10 mem=10
         on a x cpu=5
         on b y mem=5
         pod p cpu=2",
        expect!["b"],
    );
}

#[test]
fn selectors_tolerations_and_ports() {
    let nodes = "node a cpu=8 mem=8 label=disk=ssd taint=gpu:NoSchedule
                 node b cpu=8 mem=8
                 on b x containers: [{name: c, image: x, ports: [{containerPort: 1, hostPort: 80, protocol: TCP}]}]
                 ";
    let tolerates = "tolerations: [{key: gpu, operator: Exists}]";
    check(
        &format!("{nodes} pod p nodeSelector: {{disk: ssd}}, {tolerates}"),
        expect!["a"],
    );
    check(
        &format!("{nodes} pod p nodeSelector: {{disk: hdd}}, {tolerates}"),
        expect!["0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."],
    );
    let port = |spec: &str| {
        format!(
            "{nodes} pod p containers: [{{name: c, image: x, ports: [{{containerPort: 1, {spec}}}]}}]"
        )
    };
    check(
        &port("hostPort: 80, hostIP: 127.0.0.1"),
        expect![
            "0/2 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 1 node(s) had untolerated taint(s)."
        ],
    );
    check(&port("hostPort: 80, protocol: UDP"), expect!["b"]);
}

#[test]
fn every_operator() {
    let nodes = "node a cpu=8 label=num=5
                 node b cpu=8 label=num=7
                 node c cpu=8
                 ";
    let required = |expression: &str| {
        format!(
            "{nodes} pod p affinity: {{nodeAffinity: {{{REQUIRED}: {{nodeSelectorTerms: [{{matchExpressions: [{expression}]}}]}}}}}}"
        )
    };
    check(
        &required("{key: num, operator: Gt, values: ['6']}"),
        expect!["b"],
    );
    check(
        &required("{key: num, operator: Lt, values: ['6']}"),
        expect!["a"],
    );
    check(
        &required("{key: num, operator: DoesNotExist}"),
        expect!["c"],
    );
    check(
        &required("{key: num, operator: In, values: ['7', x]}"),
        expect!["b"],
    );
    check(
        &required("{key: num, operator: NotIn, values: ['7']}, {key: num, operator: Exists}"),
        expect!["a"],
    );
    check(
        &required(""),
        expect!["0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."],
    );
    check(
        &format!(
            "{nodes} pod p affinity: {{nodeAffinity: {{{REQUIRED}: {{nodeSelectorTerms: [{{matchFields: [{{key: metadata.name, operator: In, values: [a]}}, {{key: metadata.name, operator: In, values: [b]}}]}}]}}}}}}"
        ),
        expect!["0/3 nodes are available: pod affinity terms conflict. not found"],
    );
    check(
        &format!(
            "{nodes} pod p affinity: {{nodeAffinity: {{{PREFERRED}: [{{weight: 9, preference: {{matchExpressions: [{{key: num, operator: In, values: ['7']}}]}}}}]}}}}"
        ),
        expect!["b"],
    );
}

#[test]
fn soft_taints_push_away() {
    check(
        "node a cpu=8 mem=8 taint=x:PreferNoSchedule
         node b cpu=8 mem=8
         on b y cpu=4 mem=4
         pod p cpu=1 mem=1",
        expect!["b"],
    );
}

#[test]
fn images_draw() {
    check(
        "node a cpu=8 mem=8
         node b cpu=8 mem=8 image=x:2000
         pod p cpu=1 mem=1",
        expect!["b"],
    );
}

#[test]
fn affinity_to_other_pods() {
    let nodes = "node a cpu=8 zone=x
                 node b cpu=8 zone=x
                 node c cpu=8 zone=y
                 on a db app=db cpu=1
                 ";
    let term = "labelSelector: {matchLabels: {app: db}}, topologyKey: topology.kubernetes.io/zone";
    check(
        &format!("{nodes} pod p affinity: {{podAntiAffinity: {{{REQUIRED}: [{{{term}}}]}}}}"),
        expect!["c"],
    );
    check(
        &format!(
            "{nodes} on b full cpu=8\n pod p cpu=1 affinity: {{podAffinity: {{{REQUIRED}: [{{{term}}}]}}}}"
        ),
        expect!["a"],
    );
    // The first of its kind may start anywhere, others of a kind that is nowhere may not.
    let own = "labelSelector: {matchLabels: {app: web}}, topologyKey: kubernetes.io/hostname";
    check(
        &format!(
            "node a cpu=8\n pod p app=web affinity: {{podAffinity: {{{REQUIRED}: [{{{own}}}]}}}}"
        ),
        expect!["a"],
    );
    check(
        &format!(
            "node a cpu=8\n pod p app=other affinity: {{podAffinity: {{{REQUIRED}: [{{{own}}}]}}}}"
        ),
        expect!["0/1 nodes are available: 1 node(s) didn't match pod affinity rules."],
    );
    // Symmetric: a pod that is there already does not want the newcomer.
    check(
        &format!(
            "node a cpu=8\n on a db app=db affinity: {{podAntiAffinity: {{{REQUIRED}: [{{{own}}}]}}}}\n pod p app=web"
        ),
        expect![
            "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."
        ],
    );
}

#[test]
fn preferences_among_pods() {
    let term = "labelSelector: {matchLabels: {app: db}}, topologyKey: kubernetes.io/hostname";
    let prefers = |kind: &str| {
        format!("{kind}: {{{PREFERRED}: [{{weight: 100, podAffinityTerm: {{{term}}}}}]}}")
    };
    let (near, far) = (prefers("podAffinity"), prefers("podAntiAffinity"));
    let nodes = "node a cpu=8 mem=8\n node b cpu=8 mem=8\n on a db app=db cpu=1 mem=1\n";
    check(
        &format!("{nodes} pod p cpu=1 mem=1 affinity: {{{near}}}"),
        expect!["a"],
    );
    check(
        &format!("{nodes} on b y cpu=3 mem=3\n pod p cpu=1 mem=1 affinity: {{{far}}}"),
        expect!["b"],
    );
    // What is there draws, too.
    check(
        &format!(
            "node a cpu=8 mem=8\n node b cpu=8 mem=8\n on a x cpu=1 mem=1 affinity: {{{near}}}\n pod p app=db cpu=1 mem=1"
        ),
        expect!["a"],
    );
}

#[test]
fn namespaces_of_affinity_terms() {
    let world = |term: &str| {
        format!(
            "namespace default team=b
             namespace one team=a
             node a cpu=8
             on a x ns=one app=web
             pod p affinity: {{podAntiAffinity: {{{REQUIRED}: [{{labelSelector: {{matchLabels: {{app: web}}}}, topologyKey: kubernetes.io/hostname{term}}}]}}}}"
        )
    };
    check(&world(""), expect!["a"]);
    let refused =
        || expect!["0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."];
    check(&world(", namespaces: [one]"), refused());
    check(&world(", namespaceSelector: {}"), refused());
    check(
        &world(", namespaceSelector: {matchLabels: {team: a}}"),
        refused(),
    );
    check(
        &world(", namespaceSelector: {matchLabels: {team: c}}"),
        expect!["a"],
    );
}

/// A namespace that changes its labels changes who is meant.
#[test]
fn namespaces_change() {
    let (mut snapshot, pods) = world(&format!(
        "namespace one team=a
         node a cpu=8
         on a x ns=one app=web
         pod p affinity: {{podAntiAffinity: {{{REQUIRED}: [{{labelSelector: {{matchLabels: {{app: web}}}}, topologyKey: kubernetes.io/hostname, namespaceSelector: {{matchLabels: {{team: a}}}}}}]}}}}"
    ));
    assert!(run(&mut snapshot, pods.clone()).starts_with("0/1"));
    snapshot.set_namespace("one", Some(Labels::default()));
    assert_eq!(run(&mut snapshot, pods), "a");
}

#[test]
fn hard_spreading() {
    let spread = |more: &str| {
        format!(
            "topologySpreadConstraints: [{{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {{matchLabels: {{app: web}}}}{more}}}]"
        )
    };
    let nodes = "node a cpu=8 zone=x
                 node b cpu=8 zone=y
                 node c cpu=8
                 on a x app=web
                 ";
    check(
        &format!("{nodes} pod p app=web {}", spread("")),
        expect!["b"],
    );
    check(
        &format!("{nodes} on b y cpu=8\n pod p app=web cpu=1 {}", spread("")),
        expect![
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints, 1 node(s) didn't match pod topology spread constraints (missing required label)."
        ],
    );
    check(
        &format!(
            "{nodes} on b y app=web\n pod p app=web {}",
            spread(", minDomains: 3")
        ),
        expect![
            "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label), 2 node(s) didn't match pod topology spread constraints."
        ],
    );
    // Zone y is out of the pod's reach: it counts unless nodeAffinityPolicy honors the selector.
    let only_a = "nodeSelector: {kubernetes.io/hostname: a},";
    check(
        &format!("{nodes} pod p app=web {only_a} {}", spread("")),
        expect!["a"],
    );
    check(
        &format!(
            "{nodes} pod p app=web {only_a} {}",
            spread(", nodeAffinityPolicy: Ignore")
        ),
        expect![
            "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, 2 node(s) didn't match Pod's node affinity/selector."
        ],
    );
    let tainted = "node a cpu=8 zone=x\n node b cpu=8 zone=y taint=t:NoSchedule\n on a x app=web\n";
    check(
        &format!("{tainted} pod p app=web {}", spread("")),
        expect![
            "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) had untolerated taint(s)."
        ],
    );
    check(
        &format!(
            "{tainted} pod p app=web {}",
            spread(", nodeTaintsPolicy: Honor")
        ),
        expect!["a"],
    );
    // Another revision of the same application starts at zero.
    check(
        &format!(
            "node a cpu=8 zone=x\n on a x app=web rev=1\n node b cpu=8 zone=y\n on b y cpu=8\n pod p app=web rev=2 cpu=1 {}",
            spread(", matchLabelKeys: [rev]")
        ),
        expect!["a"],
    );
}

#[test]
fn soft_spreading() {
    check(
        "node a cpu=8 mem=8 zone=x
         node b cpu=8 mem=8 zone=y
         on a x app=web cpu=1 mem=1
         on b z cpu=2 mem=2
         pod p app=web cpu=1 mem=1 topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}]",
        expect!["b"],
    );
}

/// Pods of a Service or a ReplicaSet spread without asking.
#[test]
fn default_spreading() {
    let text = "node a cpu=8 mem=8 zone=x
                node b cpu=8 mem=8 zone=y
                on a x app=web cpu=1 mem=1
                on b z cpu=2 mem=2
                pod p app=web cpu=1 mem=1 owner=web";
    check(text, expect!["a"]);
    let service = || {
        [("app".to_owned(), "web".to_owned())]
            .into_iter()
            .collect::<Labels>()
    };
    let (mut snapshot, pods) = world(text);
    let services = snapshot
        .objects
        .services
        .entry("default".into())
        .or_default();
    services.insert("web".into(), service());
    assert_eq!(run(&mut snapshot, pods), "b");
    let (mut snapshot, pods) = world(text);
    let key = (
        "apps/ReplicaSet".to_owned(),
        client::Key::new("default", "web"),
    );
    let selector = api::LabelSelector::parse("app=web").unwrap();
    snapshot.objects.controllers.insert(key, selector);
    assert_eq!(run(&mut snapshot, pods), "b");
}

#[track_caller]
fn check_claim(claim: Option<&str>, volume: Option<&str>, expected: Expect) {
    let (mut snapshot, pods) = world(
        "node a cpu=8 zone=x
         node b cpu=8 zone=y
         pod p volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]",
    );
    if let Some(text) = claim {
        let claim = crate::Claim::read(&crate::testing::object(text)).unwrap();
        let key = client::Key::new("default", "data");
        snapshot.objects.claims.insert(key, claim);
    }
    if let Some(text) = volume {
        let volume = crate::Volume::read(&crate::testing::object(text)).unwrap();
        snapshot.objects.volumes.insert("pv".into(), volume);
    }
    let delayed = Class {
        delayed: Some(true),
    };
    snapshot.objects.classes.insert("late".into(), delayed);
    let text = run(&mut snapshot, pods);
    expected.assert_eq(text.split(" no new claims").next().unwrap());
}

#[test]
fn claims_and_volumes() {
    check_claim(
        None,
        None,
        expect![[r#"0/2 nodes are available: persistentvolumeclaim "data" not found. not found"#]],
    );
    check_claim(
        Some("{metadata: {name: data}, spec: {}}"),
        None,
        expect![
            "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
        ],
    );
    check_claim(
        Some("{metadata: {name: data}, spec: {storageClassName: late}}"),
        None,
        expect![
            "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."
        ],
    );
    check_claim(
        Some("{metadata: {name: data}, spec: {volumeName: pv}, status: {phase: Lost}}"),
        None,
        expect![[
            r#"0/2 nodes are available: persistentvolumeclaim "data" bound to non-existent persistentvolume "pv". not found"#
        ]],
    );
    let bound = Some(
        "{metadata: {name: data, annotations: {pv.kubernetes.io/bind-completed: 'yes'}}, spec: {volumeName: pv}}",
    );
    check_claim(
        bound,
        None,
        expect![
            "0/2 nodes are available: 2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)."
        ],
    );
    check_claim(
        bound,
        Some(
            "{metadata: {name: pv}, spec: {nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [b]}]}]}}}}",
        ),
        expect!["b"],
    );
    check_claim(
        bound,
        Some("{metadata: {name: pv, labels: {topology.kubernetes.io/zone: z__y}}, spec: {}}"),
        expect!["b"],
    );
    check_claim(
        bound,
        Some("{metadata: {name: pv, labels: {topology.kubernetes.io/zone: z}}, spec: {}}"),
        expect!["0/2 nodes are available: 2 node(s) had no available volume zone."],
    );
}

#[test]
fn disks_that_cannot_be_shared() {
    let disk = |read_only: bool| {
        format!("volumes: [{{name: v, gcePersistentDisk: {{pdName: d, readOnly: {read_only}}}}}]")
    };
    check(
        &format!(
            "node a cpu=8\n on a x {}\n pod p {}",
            disk(true),
            disk(false)
        ),
        expect!["0/1 nodes are available: 1 node(s) had no available disk."],
    );
    check(
        &format!(
            "node a cpu=8\n on a x {}\n pod p {}",
            disk(true),
            disk(true)
        ),
        expect!["a"],
    );
}

/// Devices are not allocated here: a pod that claims some must not start without them.
#[test]
fn claimed_devices_are_refused() {
    check(
        "node a cpu=8\n pod p resourceClaims: [{name: gpu, resourceClaimName: g}]",
        expect![
            "0/1 nodes are available: pod has resource claims, and devices are not allocated here. not found"
        ],
    );
}
