//! Query parameters and option bodies of the verbs.
//!
//! Source: apimachinery v0.36.3 pkg/apis/meta/v1/types.go and
//! pkg/apis/meta/internalversion/validation.

use api::{FieldError, Gk, Path, Status, fields, labels};

use crate::request::Query;

fn first<'q>(query: &'q Query, key: &str) -> &'q str {
    query
        .get(key)
        .and_then(|values| values.first())
        .map_or("", String::as_str)
}

fn flag(query: &Query, key: &str) -> Option<bool> {
    let value = query.get(key)?.first()?;
    Some(!matches!(value.as_str(), "false" | "0"))
}

/// A whole number; none: not given.
fn number(query: &Query, key: &str) -> Result<Option<i64>, Status> {
    match first(query, key) {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            Status::bad_request(&format!(
                "strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        }),
    }
}

/// Options of lists and watches.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    pub(crate) labels: labels::Selector,
    pub(crate) fields: fields::Selector,
    pub(crate) revision: String,
    pub(crate) revision_match: String,
    pub(crate) limit: usize,
    pub(crate) next: String,
    pub(crate) bookmarks: bool,
    pub(crate) initial_events: Option<bool>,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) is_watch: bool,
}

fn invalid(kind: &str, errors: &[FieldError]) -> Status {
    Status::invalid(&Gk::new("meta.k8s.io", kind), "", errors)
}

impl ListOptions {
    pub(crate) fn parse(query: &Query, watch: bool) -> Result<ListOptions, Status> {
        let bad = |what: &str, error: &dyn std::fmt::Display| {
            let _ = what;
            Status::bad_request(&error.to_string())
        };
        let labels = labels::Selector::parse(first(query, "labelSelector"))
            .map_err(|e| bad("labelSelector", &e))?;
        let fields = fields::Selector::parse(first(query, "fieldSelector"))
            .map_err(|e| bad("fieldSelector", &e))?;
        let number = |key: &str| -> Result<u64, Status> {
            let number = number(query, key)?.unwrap_or(0);
            Ok(u64::try_from(number).unwrap_or(0))
        };
        let limit = number("limit")?;
        let timeout = number("timeoutSeconds")?;
        let options = ListOptions {
            labels,
            fields,
            revision: first(query, "resourceVersion").to_owned(),
            revision_match: first(query, "resourceVersionMatch").to_owned(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            next: first(query, "continue").to_owned(),
            bookmarks: flag(query, "allowWatchBookmarks").unwrap_or(false),
            initial_events: flag(query, "sendInitialEvents"),
            timeout_seconds: (timeout > 0).then_some(timeout),
            is_watch: watch,
        };
        options.check(watch)?;
        Ok(options)
    }

    fn check(&self, watch: bool) -> Result<(), Status> {
        let mut errors = Vec::new();
        let at = Path::new("resourceVersionMatch");
        let known = ["Exact", "NotOlderThan"];
        if watch {
            if let Some(_initial) = self.initial_events {
                if self.revision_match != "NotOlderThan" {
                    errors.push(FieldError::forbidden(
                        &at,
                        "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                    ));
                }
                if !["", "NotOlderThan"].contains(&self.revision_match.as_str()) {
                    let known = ["NotOlderThan"];
                    errors.push(FieldError::not_supported(&at, &self.revision_match, &known));
                }
            } else if !self.revision_match.is_empty() {
                errors.push(FieldError::forbidden(
                    &at,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
                if self.revision_match != "NotOlderThan" {
                    let known = ["NotOlderThan"];
                    errors.push(FieldError::not_supported(&at, &self.revision_match, &known));
                }
            }
        } else {
            if self.initial_events.is_some() {
                errors.push(FieldError::forbidden(
                    &Path::new("sendInitialEvents"),
                    "sendInitialEvents is forbidden for list",
                ));
            }
            if !self.revision_match.is_empty() {
                if self.revision.is_empty() {
                    errors.push(FieldError::forbidden(
                        &at,
                        "resourceVersionMatch is forbidden unless resourceVersion is provided",
                    ));
                }
                if !self.next.is_empty() {
                    errors.push(FieldError::forbidden(
                        &at,
                        "resourceVersionMatch is forbidden when continue is provided",
                    ));
                }
                if !known.contains(&self.revision_match.as_str()) {
                    let known = ["Exact", "NotOlderThan", ""];
                    errors.push(FieldError::not_supported(&at, &self.revision_match, &known));
                }
                if self.revision_match == "Exact" && self.revision == "0" {
                    errors.push(FieldError::forbidden(
                        &at,
                        "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                    ));
                }
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(invalid("ListOptions", &errors))
        }
    }

    /// The revision as a number.
    pub(crate) fn revision_number(&self) -> Result<Option<u64>, Status> {
        match self.revision.as_str() {
            "" => Ok(None),
            text => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => {
                    let words = format!(
                        "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
                    );
                    Err(if self.is_watch {
                        Status::plain_error(&words)
                    } else {
                        Status::bad_request(&format!("invalid resource version: {words}"))
                    })
                }
            },
        }
    }
}

/// Options of writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    /// `Strict`, `Warn`, `Ignore`.
    pub(crate) validation: String,
    pub(crate) manager: String,
    pub(crate) force: Option<bool>,
    /// The client must name the revision it replaces (PUT of some kinds).
    pub(crate) names_revision: bool,
    /// The object brings its field managers (server-side apply).
    pub(crate) managed: bool,
}

impl WriteOptions {
    pub(crate) fn parse(query: &Query, kind: &str) -> Result<WriteOptions, Status> {
        let mut errors = Vec::new();
        let dry = query.get("dryRun").map(Vec::as_slice).unwrap_or_default();
        check_dry_run(dry, &mut errors);
        let validation = first(query, "fieldValidation");
        if !["", "Ignore", "Strict", "Warn"].contains(&validation) {
            let known = ["", "Ignore", "Strict", "Warn"];
            let at = Path::new("fieldValidation");
            errors.push(FieldError::not_supported(&at, validation, &known));
        }
        let manager = first(query, "fieldManager");
        if manager.len() > 128 {
            errors.push(FieldError::too_long(&Path::new("fieldManager"), 128));
        }
        for (index, character) in manager.char_indices() {
            if character.is_control() {
                let detail = format!(
                    "invalid character {} (at position {index})",
                    unicode(character)
                );
                let at = Path::new("fieldManager");
                errors.push(FieldError::invalid(&at, manager, &detail));
            }
        }
        if !errors.is_empty() {
            return Err(invalid(kind, &errors));
        }
        Ok(WriteOptions {
            dry_run: !dry.is_empty(),
            validation: validation.to_owned(),
            manager: manager.to_owned(),
            force: flag(query, "force"),
            ..WriteOptions::default()
        })
    }
}

/// Only `All` can be tried.
fn check_dry_run(values: &[String], errors: &mut Vec<FieldError>) {
    if values.iter().any(|value| value != "All") {
        let at = Path::new("dryRun");
        let raw = api::BadValue::Raw(format!("{values:?}"));
        errors.push(FieldError::not_supported(&at, raw, &["All"]));
    }
}

/// As Go's `%U`.
fn unicode(character: char) -> String {
    format!("U+{:04X}", u32::from(character))
}

/// Options of deletes.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) grace_seconds: Option<i64>,
    pub(crate) uid: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) orphan: Option<bool>,
    /// `Orphan`, `Background`, `Foreground`.
    pub(crate) propagation: String,
    pub(crate) dry_run: bool,
}

impl DeleteOptions {
    pub(crate) fn parse(
        query: &Query,
        body: Option<schema::Ref<'_>>,
    ) -> Result<DeleteOptions, Status> {
        let mut options = DeleteOptions {
            grace_seconds: number(query, "gracePeriodSeconds")?,
            orphan: flag(query, "orphanDependents"),
            propagation: first(query, "propagationPolicy").to_owned(),
            ..DeleteOptions::default()
        };
        let mut dry = query.get("dryRun").cloned().unwrap_or_default();
        if let Some(body) = body {
            let kind = body.str("kind");
            if !kind.is_empty() && kind != "DeleteOptions" {
                return Err(Status::bad_request(&format!(
                    "no kind {kind:?} is registered for version {:?} in scheme \"pkg/runtime/scheme.go:111\"",
                    body.str("apiVersion")
                )));
            }
            options.grace_seconds = body.int("gracePeriodSeconds").or(options.grace_seconds);
            options.orphan = body.bool("orphanDependents").or(options.orphan);
            if !body.str("propagationPolicy").is_empty() {
                options.propagation = body.str("propagationPolicy").to_owned();
            }
            let given = body.items("dryRun").filter_map(schema::Ref::as_str);
            dry.extend(given.map(str::to_owned));
            if let Some(conditions) = body.get("preconditions") {
                let text = |key: &str| {
                    conditions
                        .get(key)
                        .and_then(|v| v.as_str())
                        .map(str::to_owned)
                };
                options.uid = text("uid");
                options.revision = text("resourceVersion");
            }
        }
        options.dry_run = !dry.is_empty();
        let mut errors = Vec::new();
        if options.orphan.is_some() && !options.propagation.is_empty() {
            errors.push(FieldError::invalid(
                &Path::new("propagationPolicy"),
                &options.propagation,
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        let known = ["Foreground", "Background", "Orphan", "nil"];
        if !options.propagation.is_empty() && !known.contains(&options.propagation.as_str()) {
            let at = Path::new("propagationPolicy");
            errors.push(FieldError::not_supported(&at, &options.propagation, &known));
        }
        check_dry_run(&dry, &mut errors);
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(invalid("DeleteOptions", &errors))
        }
    }

    /// The options as a document.
    pub(crate) fn document(&self) -> schema::Dom {
        let mut dom = schema::Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        dom.set_str(root, "kind", "DeleteOptions");
        dom.set_str(root, "apiVersion", "meta.k8s.io/v1");
        if let Some(seconds) = self.grace_seconds {
            dom.set_int(root, "gracePeriodSeconds", seconds);
        }
        if self.uid.is_some() || self.revision.is_some() {
            let map = dom.new_map();
            for (key, value) in [("uid", &self.uid), ("resourceVersion", &self.revision)] {
                if let Some(value) = value {
                    dom.set_str(map, key, value);
                }
            }
            dom.set(root, "preconditions", map);
        }
        if let Some(orphan) = self.orphan {
            dom.set_bool(root, "orphanDependents", orphan);
        }
        if !self.propagation.is_empty() {
            dom.set_str(root, "propagationPolicy", &self.propagation);
        }
        if self.dry_run {
            let list = dom.new_list();
            let all = dom.new_str("All");
            dom.push(list, all);
            dom.set(root, "dryRun", list);
        }
        dom
    }
}
