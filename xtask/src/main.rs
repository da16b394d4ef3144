//! Automation: `cargo xtask clients|codegen|conformance|differential|fuzz|images|nodeapi|vm`.

mod clients;
mod cluster;
mod codegen;
mod conformance;
mod differential;
mod fuzz;
mod images;
mod nodeapi;
mod page;
mod tool;
mod vm;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("clients") => clients::run(arguments),
        Some("codegen") => codegen::run(arguments.next().as_deref() == Some("--check")),
        Some("conformance") => conformance::run(arguments),
        Some("differential") => differential::run(arguments),
        Some("fuzz") => fuzz::run(arguments),
        Some("images") => images::run(),
        Some("nodeapi") => nodeapi::run(),
        Some("vm") => vm::run(arguments),
        other => {
            anyhow::bail!(
                "unknown task {other:?}; known: clients, codegen [--check], conformance, differential, fuzz, images, nodeapi, vm"
            )
        }
    }
}
