//! The built-in table as a whole, and some of its facts.

use super::{Leaf, ListType, Shape, builtin};

#[test]
fn every_name_is_static_and_found() {
    let table = builtin();
    for ty in table.types() {
        for (n, field) in table.fields(ty).iter().enumerate() {
            let name = table.json_name(field);
            assert!(field.name().is_some(), "{name} is not in names/list.rs");
            assert_eq!(
                table.index(ty, name),
                Some(n),
                "{} {name}",
                table.type_name(ty)
            );
        }
    }
}

#[test]
fn facts_of_some_fields() {
    let table = builtin();
    let pod = table.kind("", "v1", "Pod").unwrap();
    assert_eq!(table.named("core.v1.Pod"), Some(pod));
    let container = table.named("core.v1.Container").unwrap();
    let ports = table.field(container, "ports").unwrap();
    assert_eq!(ports.proto(), [6]);
    assert_eq!(ports.list_type(), Some(ListType::Map));
    assert_eq!(
        table.map_keys(ports).collect::<Vec<_>>(),
        ["containerPort", "protocol"]
    );
    assert_eq!(table.patch_merge_key(ports), Some("containerPort"));
    assert_eq!(table.go_type(ports), "[]v1.ContainerPort");
    let port = table.named("core.v1.ContainerPort").unwrap();
    assert_eq!(
        table.default_json(table.field(port, "protocol").unwrap()),
        Some("\"TCP\"")
    );
    let volume = table.named("core.v1.Volume").unwrap();
    let secret = table.field(volume, "secret").unwrap();
    assert_eq!(secret.proto(), [2, 6]);
    assert_eq!(table.inlined(secret), Some("VolumeSource"));
    let meta = table.named("meta.v1.ObjectMeta").unwrap();
    let created = table.field(meta, "creationTimestamp").unwrap();
    assert!(created.omit_zero());
    assert_eq!(table.shape(created.shape()), Shape::Leaf(Leaf::Time));
}

#[test]
fn meta_kinds_are_found_everywhere() {
    let table = builtin();
    let options = table.kind("apps", "v1", "DeleteOptions").unwrap();
    assert_eq!(table.kind("", "v1", "DeleteOptions"), Some(options));
    assert!(table.kind("meta.k8s.io", "v1", "Table").is_some());
    assert!(table.kind("autoscaling", "v1", "Scale").is_some());
    assert!(table.kind("policy", "v1", "Eviction").is_some());
    assert!(table.kind("apps", "v1", "Pod").is_none());
    assert!(table.kind("", "v1", "Nonsense").is_none());
}
