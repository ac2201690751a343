//! A build without the feature `otlp`: nothing is exported.

use clap::Args;
use millpond::observe::Registry;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;

use crate::log::StartError;

pub(crate) const HELP: &str = "";

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {}

impl ExportArgs {
    pub(crate) fn descriptors(&self) -> u64 {
        0
    }
}

pub(crate) struct Export;

impl Export {
    pub(crate) fn new(_: &ExportArgs) -> Result<Self, StartError> {
        Ok(Self)
    }

    pub(crate) fn layer<S: Subscriber>(&self) -> Option<Box<dyn Layer<S> + Send + Sync>> {
        None
    }

    pub(crate) fn start(&self, _: &Registry) {}

    pub(crate) fn collector(&self) -> Option<&str> {
        None
    }

    pub(crate) async fn stop(&self) {}
}

pub(crate) fn trace_id(_: &Event<'_>) -> Option<String> {
    None
}
