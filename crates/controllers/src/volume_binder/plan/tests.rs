//! Claims and volumes as words: `2Gi RWO`, with `class=…`, `for=ns/name[:uid]`, `phase=…`.

use expect_test::{Expect, expect};
use schema::Dom;

use super::*;

/// One object of words: name first, then what it has.
fn json(words: &str, is_claim: bool) -> String {
    let mut words = words.split(' ');
    let name = words.next().unwrap();
    let (mut spec, mut notes, mut labels, mut status) =
        (Vec::new(), Vec::new(), Vec::new(), String::new());
    let mut deleting = "";
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "class" => spec.push(format!(r#""storageClassName":"{value}""#)),
            "volume" => spec.push(format!(r#""volumeName":"{value}""#)),
            "block" => spec.push(r#""volumeMode":"Block""#.to_owned()),
            "policy" => spec.push(format!(r#""persistentVolumeReclaimPolicy":"{value}""#)),
            "phase" => status = format!(r#","status":{{"phase":"{value}"}}"#),
            "done" => notes.push(r#""pv.kubernetes.io/bind-completed":"yes""#.to_owned()),
            "chosen" => notes.push(r#""pv.kubernetes.io/bound-by-controller":"yes""#.to_owned()),
            "made-by" => notes.push(format!(r#""pv.kubernetes.io/provisioned-by":"{value}""#)),
            "deleting" => deleting = r#","deletionTimestamp":"2026-01-02T03:04:05Z""#,
            "label" => labels.push(format!(r#""app":"{value}""#)),
            "wants" => spec.push(format!(
                r#""selector":{{"matchLabels":{{"app":"{value}"}}}}"#
            )),
            "for" => {
                let (who, uid) = value.split_once(':').unwrap_or((value, ""));
                spec.push(format!(
                    r#""claimRef":{{"namespace":"d","name":"{who}","uid":"{uid}"}}"#
                ));
            }
            modes if modes.starts_with('R') => {
                let modes: Vec<String> = modes.split(',').map(|m| format!("{m:?}")).collect();
                spec.push(format!(r#""accessModes":[{}]"#, modes.join(",")));
            }
            size if is_claim => spec.push(format!(
                r#""resources":{{"requests":{{"storage":"{size}"}}}}"#
            )),
            size => spec.push(format!(r#""capacity":{{"storage":"{size}"}}"#)),
        }
    }
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"d","uid":"u-{name}","annotations":{{{}}},"labels":{{{}}}{deleting}}},"spec":{{{}}}{status}}}"#,
        notes.join(","),
        labels.join(","),
        spec.join(",")
    )
}

fn dom(words: &str, is_claim: bool) -> Dom {
    Dom::parse_json(json(words, is_claim).as_bytes()).unwrap()
}

fn volumes(lines: &[&str]) -> Vec<Arc<Volume>> {
    let read = |line: &&str| Arc::new(Volume::read(dom(line, false).as_ref()).unwrap());
    lines.iter().map(read).collect()
}

fn word(word: &Word) -> String {
    format!("{:?} {}: {}", word.kind, word.reason, word.text)
}

#[track_caller]
fn check(words: &str, lines: &[&str], expect: Expect) {
    let class = |name: &str, provisioner: &str, is_delayed| {
        Arc::new(Class {
            name: name.to_owned(),
            provisioner: provisioner.to_owned(),
            is_delayed,
            is_default: false,
            created: None,
        })
    };
    let classes = [
        class("local", "kubernetes.io/no-provisioner", true),
        class("plain", "kubernetes.io/no-provisioner", false),
        class("csi", "csi.example.com", false),
    ];
    let volumes = volumes(lines);
    let world = World {
        volumes: &volumes,
        classes: &classes,
        waiting_pods: &[],
    };
    let facts = Claim::read(dom(words, true).as_ref()).unwrap();
    let text = match claim(&facts, &world) {
        ForClaim::Bind { volume } => format!("bind {volume}"),
        ForClaim::Wait(None) => "wait".to_owned(),
        ForClaim::Wait(Some(said)) => word(&said),
        ForClaim::Lost(said) => format!("lost, {}", word(&said)),
        ForClaim::Class(name) => format!("class {name}"),
        ForClaim::Provision {
            provisioner,
            word: said,
        } => format!("by {provisioner}, {}", word(&said)),
    };
    expect.assert_eq(&text);
}

const FREE: &str = "phase=Available";

#[test]
fn the_smallest_that_suits() {
    let free = |line: &str| format!("{line} {FREE}");
    let lines = [
        free("big 10Gi RWO"),
        free("small 1Gi RWO"),
        free("b 5Gi RWO"),
        free("a 5Gi RWO"),
        free("shared 3Gi RWO,RWX"),
        "busy 2Gi RWO for=x:u phase=Bound".to_owned(),
        "new 2Gi RWO".to_owned(),
        format!("going 2Gi RWO deleting {FREE}"),
        free("raw 2Gi RWO block"),
        free("fast 2Gi RWO class=fast"),
        free("labelled 20Gi RWO label=db"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    check("c 2Gi RWO", &lines, expect!["bind a"]);
    check("c 1Gi RWO", &lines, expect!["bind small"]);
    check("c 1Gi RWX", &lines, expect!["bind shared"]);
    check("c 1Gi RWO block", &lines, expect!["bind raw"]);
    check("c 1Gi RWO class=fast", &lines, expect!["bind fast"]);
    check("c 1Gi RWO wants=db", &lines, expect!["bind labelled"]);
    check(
        "c 1Gi ROX",
        &lines,
        expect![
            "Normal FailedBinding: no persistent volumes available for this claim and no storage class is set"
        ],
    );
}

#[test]
fn what_was_kept_for_a_claim() {
    let small = "small 1Gi RWO phase=Available";
    check(
        "c 1Gi RWO",
        &[small, "kept 5Gi RWO for=c"],
        expect!["bind kept"],
    );
    check(
        "c 1Gi RWO",
        &[small, "kept 5Gi RWO for=c:u-c"],
        expect!["bind kept"],
    );
    check(
        "c 1Gi RWO",
        &[small, "old 5Gi RWO for=c:u-before"],
        expect!["bind small"],
    );
    check(
        "c 9Gi RWO",
        &[small, "kept 5Gi RWO for=c"],
        expect![
            "Normal FailedBinding: no persistent volumes available for this claim and no storage class is set"
        ],
    );
}

#[test]
fn a_claim_that_names_its_volume() {
    check("c 1Gi RWO volume=v", &[], expect!["wait"]);
    check("c 1Gi RWO volume=v", &["v 1Gi RWO"], expect!["bind v"]);
    check(
        "c 2Gi RWO volume=v",
        &["v 1Gi RWO"],
        expect![[
            r#"Warning VolumeMismatch: Cannot bind to requested volume "v": requested PV is too small"#
        ]],
    );
    check(
        "c 1Gi RWX volume=v",
        &["v 1Gi RWO"],
        expect![[
            r#"Warning VolumeMismatch: Cannot bind to requested volume "v": incompatible accessMode"#
        ]],
    );
    check(
        "c 1Gi RWO volume=v class=a",
        &["v 1Gi RWO"],
        expect![[
            r#"Warning VolumeMismatch: Cannot bind to requested volume "v": storageClassName does not match"#
        ]],
    );
    check(
        "c 1Gi RWO volume=v",
        &["v 1Gi RWO for=x:y"],
        expect![[r#"Warning FailedBinding: volume "v" already bound to a different claim."#]],
    );
    check(
        "c 1Gi RWO volume=v",
        &["v 1Gi RWO deleting"],
        expect![[
            r#"Warning VolumeMismatch: Cannot bind to requested volume "v": the volume is marked for deletion "v""#
        ]],
    );
}

#[test]
fn bound_for_good() {
    let done = "c 1Gi RWO done volume=v";
    check(
        done,
        &["v 1Gi RWO for=c:u-c phase=Bound"],
        expect!["bind v"],
    );
    check(done, &["v 1Gi RWO phase=Available"], expect!["bind v"]);
    check(
        done,
        &["v 1Gi RWO for=c:u-other"],
        expect![
            "lost, Warning ClaimMisbound: Two claims are bound to the same volume, this one is bound incorrectly"
        ],
    );
    check(
        done,
        &[],
        expect![
            "lost, Warning ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        ],
    );
    check(
        "c 1Gi RWO done",
        &[],
        expect![
            "lost, Warning ClaimLost: Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        ],
    );
}

#[test]
fn classes() {
    let free = "v 1Gi RWO class=local phase=Available";
    check(
        "c 1Gi RWO class=local",
        &[free],
        expect![
            "Normal WaitForFirstConsumer: waiting for first consumer to be created before binding"
        ],
    );
    check(
        "c 1Gi RWO class=plain",
        &[free],
        expect![
            "Warning ProvisioningFailed: no volume plugin matched name: kubernetes.io/no-provisioner"
        ],
    );
    check(
        "c 1Gi RWO class=csi",
        &[free],
        expect![
            "by csi.example.com, Normal ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'csi.example.com' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
        ],
    );
    check(
        "c 1Gi RWO class=none",
        &[free],
        expect![[r#"Warning ProvisioningFailed: storageclass.storage.k8s.io "none" not found"#]],
    );
}

#[track_caller]
fn check_volume(words: &str, claim: Option<&str>, expect: Expect) {
    let facts = Volume::read(dom(words, false).as_ref()).unwrap();
    let claim = claim.map(|words| Claim::read(dom(words, true).as_ref()).unwrap());
    let text = match volume(&facts, claim.as_ref()) {
        ForVolume::Phase { phase, word: None } => phase.to_owned(),
        ForVolume::Phase {
            phase,
            word: Some(said),
        } => format!("{phase}, {}", word(&said)),
        ForVolume::Mismatch { volume, .. } => word(&volume),
        other => format!("{other:?}"),
    };
    expect.assert_eq(&text);
}

#[test]
fn what_becomes_of_a_volume() {
    check_volume("v 1Gi RWO", None, expect!["Available"]);
    check_volume("v 1Gi RWO for=c", None, expect!["Available"]);
    let bound = "v 1Gi RWO for=c:u-c policy=Retain";
    check_volume(bound, Some("c 1Gi RWO"), expect!["LookAtClaim"]);
    check_volume(bound, Some("c 1Gi RWO volume=v"), expect!["Bound"]);
    check_volume(bound, Some("c 1Gi RWO volume=w"), expect!["Unbind"]);
    check_volume(
        bound,
        Some("c 1Gi RWO block"),
        expect![[
            r#"Warning VolumeMismatch: Cannot bind PersistentVolume to requested PersistentVolumeClaim "c" due to incompatible volumeMode."#
        ]],
    );
    check_volume(bound, None, expect!["Released"]);
    check_volume(
        "v 1Gi RWO for=c:u-old",
        Some("c 1Gi RWO"),
        expect!["Released"],
    );
    let released = "v 1Gi RWO for=c:u phase=Released";
    check_volume(
        &format!("{released} policy=Retain"),
        None,
        expect!["Nothing"],
    );
    check_volume(
        &format!("{released} policy=Delete"),
        None,
        expect![[
            r#"Failed, Warning VolumeFailedDelete: error getting deleter volume plugin for volume "v": no deletable volume plugin matched"#
        ]],
    );
    check_volume(
        &format!("{released} policy=Recycle"),
        None,
        expect!["Failed, Warning VolumeFailedRecycle: No recycler plugin found for the volume!"],
    );
    let outside = format!("{released} policy=Delete made-by=csi.example.com");
    check_volume(&outside, None, expect!["Nothing"]);
}
