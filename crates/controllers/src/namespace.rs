//! Empties a namespace that is being deleted, then lets it go.
//!
//! Pods go first and everything else when none is left: a pod that ends may still need its Secret
//! or its NetworkPolicy. The end of a pod is watched; what others hold by finalizers is looked at
//! again after a while.
//! Source: kubernetes v1.36 pkg/controller/namespace/deletion/namespaced_resources_deleter.go,
//! status_condition_utils.go.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use base::Chain;
use client::{Cache, DeleteOptions, Error, Key, ListOptions, Propagation, WorkQueue};
use schema::Dom;

use crate::context::{Context, work};
use crate::discovery::{self, Served};
use crate::namespace::plan::{Found, Remaining, plan};

/// What is held by finalizers is looked at again so soon …
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// … and so soon when it has been held for long, or when pods are waited for, whose end is told.
const LOOK_AGAIN_LATER: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(60);

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<String>> = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let namespaces = context.informers.of("", "v1", "namespaces");
    let namespaces = namespaces.on_change(move |change| {
        if let Some(new) = &change.new {
            add.add(new.name().to_owned());
        }
    });
    let namespaces = namespaces.cache();
    let (add, known) = (queue.clone(), namespaces.clone());
    let pods = context.informers.of("", "v1", "pods");
    pods.on_change(move |change| {
        let namespace = &change.key().namespace;
        if change.new.is_none() && is_deleting(&known, namespace) {
            add.add(namespace.clone());
        }
    });
    let (own, again) = (context.clone(), queue.clone());
    work("namespace-controller", &context, &queue, move |name| {
        let (context, namespaces, again) = (own.clone(), namespaces.clone(), again.clone());
        async move {
            if let Some(after) = sync(&context, &namespaces, &name).await? {
                again.add_after(name, after);
            }
            Ok(())
        }
    });
}

fn is_deleting(namespaces: &Cache, name: &str) -> bool {
    let namespace = namespaces.get(&Key::new("", name));
    let dom = namespace.and_then(|namespace| namespace.parse().ok());
    dom.is_some_and(|dom| api::meta::of(dom.as_ref()).is_deleting())
}

/// `Some`: there is something left; look again after so long.
async fn sync(
    context: &Context,
    namespaces: &Cache,
    name: &str,
) -> Result<Option<Duration>, Error> {
    let Some(object) = namespaces.get(&Key::new("", name)) else {
        return Ok(None);
    };
    let Ok(dom) = object.parse() else {
        return Ok(None);
    };
    let namespace = dom.as_ref();
    let deleted = api::meta::of(namespace).deleted();
    let ours = namespace.get("spec").is_some_and(|spec| {
        spec.items("finalizers")
            .any(|f| f.as_str() == Some("kubernetes"))
    });
    if !api::meta::of(namespace).is_deleting() || !ours {
        return Ok(None);
    }
    let found = empty(context, name).await?;
    let plan = plan(&found);
    let api = context.client.resource(&Gvr::new("", "v1", "namespaces"));
    let current = match api.find(name).await? {
        Some(current) if current.uid() == object.uid() => current,
        _ => return Ok(None),
    };
    let Ok(mut dom) = current.parse() else {
        return Ok(None);
    };
    let root = dom.root();
    if plan.finished {
        remove_finalizer(&mut dom);
        let json = dom.to_json(root);
        return match api.update_subresource(name, "finalize", json).await {
            Ok(_) => Ok(None),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        };
    }
    let now = api::time::format_seconds(context.clock.now());
    let status = dom.ensure_map(root, "status");
    dom.set_str(status, "phase", "Terminating");
    if plan.write_conditions(&mut dom, status, &now) {
        match api
            .update_subresource(name, "status", dom.to_json(root))
            .await
        {
            Ok(_) => {}
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    let age = deleted.map_or(Duration::ZERO, |at| {
        Duration::try_from(context.clock.now().duration_since(at)).unwrap_or_default()
    });
    let only_pods = found.failures.is_empty()
        && found
            .remaining
            .iter()
            .all(|object| object.resource == "pods.");
    Ok(Some(match only_pods || age > LONG {
        true => LOOK_AGAIN_LATER,
        false => LOOK_AGAIN,
    }))
}

fn remove_finalizer(dom: &mut Dom) {
    let root = dom.root();
    let spec = dom.ensure_map(root, "spec");
    let list = dom.ensure_list(spec, "finalizers");
    let at = dom
        .items(list)
        .position(|item| dom.as_str(item) == Some("kubernetes"));
    if let Some(at) = at {
        dom.remove_item(list, at);
    }
}

/// Deletes everything in the namespace; says what is still there.
async fn empty(context: &Context, namespace: &str) -> Result<Found, Error> {
    let (served, undiscovered) = discovery::served(&context.client).await?;
    let mut found = Found {
        undiscovered,
        ..Found::default()
    };
    let targets = served
        .into_iter()
        .filter(|served| served.namespaced && served.can("delete"));
    let (pods, others): (Vec<Served>, Vec<Served>) = targets
        .filter(|served| served.can("list"))
        .partition(|served| served.gvr == Gvr::new("", "v1", "pods"));
    for stage in [pods, others] {
        for served in &stage {
            delete_all(context, namespace, served, &mut found).await;
        }
        for served in &stage {
            look(context, namespace, served, &mut found).await;
        }
        if !found.remaining.is_empty() || !found.failures.is_empty() {
            break;
        }
    }
    Ok(found)
}

async fn delete_all(context: &Context, namespace: &str, served: &Served, found: &mut Found) {
    let api = context.client.namespaced(&served.gvr, namespace);
    let options = DeleteOptions {
        propagation: Some(Propagation::Background),
        ..DeleteOptions::default()
    };
    let result = if served.can("deletecollection") {
        api.delete_collection(&ListOptions::default(), &options)
            .await
    } else {
        delete_each(&api, &options).await
    };
    match result {
        Ok(()) => {}
        Err(error) if matches!(error.code(), 404 | 405) => {}
        Err(error) => found.failures.push(Chain(&error).to_string()),
    }
}

/// What is still there.
async fn look(context: &Context, namespace: &str, served: &Served, found: &mut Found) {
    let api = context.client.namespaced(&served.gvr, namespace);
    let list = match api.list(&ListOptions::default()).await {
        Ok(list) => list,
        Err(error) if matches!(error.code(), 404 | 405) => return,
        Err(error) => {
            found.failures.push(Chain(&error).to_string());
            return;
        }
    };
    for object in list.items {
        let finalizers = object.parse().map_or_else(
            |_| Vec::new(),
            |dom| {
                let finalizers = api::meta::of(dom.as_ref()).finalizers();
                finalizers.map(str::to_owned).collect()
            },
        );
        found.remaining.push(Remaining {
            resource: format!("{}.{}", served.gvr.resource, served.gvr.group),
            finalizers,
        });
    }
}

async fn delete_each(api: &client::Api, options: &DeleteOptions) -> Result<(), Error> {
    for object in api.list(&ListOptions::default()).await?.items {
        match api.delete(object.name(), options).await {
            Ok(()) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
