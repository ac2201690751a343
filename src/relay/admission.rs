//! Who is refused: by the lists, and by the limits of its source.

use super::accepted::Accepted;
use super::error::{Cause, Refusal};
use crate::net::{SourceLimit, SourcePermit};

impl Accepted {
    /// Checks the client, whom a PROXY header may have named. The connection counts at its source while the permit lives.
    pub(super) fn admit(&self) -> Result<Option<SourcePermit>, Cause> {
        let client = self.connection.client();
        if !self.config.access.admits(&client) {
            return Err(Cause::Refused(Refusal::Denied));
        }
        let (Some(shared), Some(address)) = (self.shared(), client.address()) else { return Ok(None) };
        shared.sources.admit(&self.config.source_limits, address.ip()).map_err(|limit| {
            Cause::Refused(match limit {
                SourceLimit::Connections => Refusal::SourceConnections,
                SourceLimit::Rate => Refusal::SourceRate,
            })
        })
    }
}
