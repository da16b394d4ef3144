//! Streams of simulated containers: there are none.

use nodeapi::cri;
use nodeapi::streams::Duplex;
use nodeapi::{CriError, ExitStatus, Io, Streams};

use crate::runtime::FakeRuntime;

#[async_trait::async_trait]
impl Streams for FakeRuntime {
    async fn exec(&self, _: cri::ExecRequest, _: Io) -> Result<ExitStatus, CriError> {
        Err(CriError::unimplemented("exec"))
    }

    async fn attach(&self, _: cri::AttachRequest, _: Io) -> Result<ExitStatus, CriError> {
        Err(CriError::unimplemented("attach"))
    }

    async fn port_forward(&self, _: &str, _: u16, _: Box<dyn Duplex>) -> Result<(), CriError> {
        Err(CriError::unimplemented("port_forward"))
    }
}
