//! What fields mean, in our own words: the ones that every object has.
//!
//! `kubectl explain` prints them. The empty type stands for every kind's own level.

/// Type, field, text; sorted by nothing, looked through when a document is made.
const TEXTS: &[(&str, &str, &str)] = &[
    (
        "",
        "apiVersion",
        "APIVersion defines the group and version in which the object is written, for example apps/v1.",
    ),
    (
        "",
        "kind",
        "Kind names the type of the object, in CamelCase, for example Deployment.",
    ),
    (
        "",
        "metadata",
        "Standard object's metadata: its name, labels, owners and history.",
    ),
    (
        "",
        "spec",
        "What is wanted. Users and controllers write it.",
    ),
    (
        "",
        "status",
        "What was observed last. The system writes it.",
    ),
    ("", "items", "The objects of the list."),
    (
        "meta.v1.ObjectMeta",
        "name",
        "Unique among the objects of its kind in its namespace; cannot be changed.",
    ),
    (
        "meta.v1.ObjectMeta",
        "generateName",
        "A prefix: the server adds random characters to it when name is left out.",
    ),
    (
        "meta.v1.ObjectMeta",
        "namespace",
        "The part of the cluster in which the name must be unique; empty for objects of the whole cluster.",
    ),
    (
        "meta.v1.ObjectMeta",
        "selfLink",
        "No longer set by servers.",
    ),
    (
        "meta.v1.ObjectMeta",
        "uid",
        "Tells this object from others that had or will have its name; set by the server.",
    ),
    (
        "meta.v1.ObjectMeta",
        "resourceVersion",
        "Changes with every write. Clients hand it back to write only over what they have read, and to watch from there.",
    ),
    (
        "meta.v1.ObjectMeta",
        "generation",
        "Counts changes of what is wanted; set by the server.",
    ),
    (
        "meta.v1.ObjectMeta",
        "creationTimestamp",
        "CreationTimestamp is a timestamp of the first write on the server's clock, in RFC 3339 and UTC.",
    ),
    (
        "meta.v1.ObjectMeta",
        "deletionTimestamp",
        "When the object is to be gone; set by the server when a client deletes an object that something still keeps.",
    ),
    (
        "meta.v1.ObjectMeta",
        "deletionGracePeriodSeconds",
        "How many seconds the object may take to end; set with deletionTimestamp and only ever made shorter.",
    ),
    (
        "meta.v1.ObjectMeta",
        "labels",
        "Keys and values by which selectors find objects.",
    ),
    (
        "meta.v1.ObjectMeta",
        "annotations",
        "Keys and values for tools; selectors do not see them.",
    ),
    (
        "meta.v1.ObjectMeta",
        "ownerReferences",
        "Objects that this one depends on: when all of them are gone, it is collected.",
    ),
    (
        "meta.v1.ObjectMeta",
        "finalizers",
        "Names of what must be done before the object goes; whoever does it removes its name.",
    ),
    (
        "meta.v1.ObjectMeta",
        "managedFields",
        "Which manager set which fields, for server-side apply.",
    ),
];

/// The text of a field.
pub(super) fn of(ty: &str, field: &str) -> Option<&'static str> {
    let found = TEXTS.iter().find(|(t, f, _)| *t == ty && *f == field);
    found.map(|(_, _, text)| *text)
}
