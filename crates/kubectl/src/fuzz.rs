//! A door for the fuzz targets (`fuzz/`): kubeconfigs.

/// Reads a kubeconfig and looks its current context up.
pub fn kubeconfig(text: &str) {
    let _ = crate::config::chosen(text);
}
