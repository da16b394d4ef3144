//! A door for the fuzz targets (`fuzz/`): the user's kubeconfig.

/// Puts a cluster into a kubeconfig and takes it out again.
pub fn kubeconfig(text: &str) {
    crate::kubeconfig::there_and_back(text);
}
