//! Serves the tools on a door: over MCP, and as plain HTTP.

use super::tools::Supervise;
use super::{mcp, plain};
use crate::http::{self, Listener};
use std::sync::Arc;

impl Supervise {
    /// Serves the door until its listener fails.
    pub async fn serve(self: &Arc<Self>, listener: Listener) {
        let (supervise, mcp) = (Arc::clone(self), mcp::service(Arc::clone(self)));
        http::serve(listener, &self.server, move |request| {
            let (supervise, mcp) = (Arc::clone(&supervise), mcp.clone());
            async move {
                Ok(if request.uri().path() == mcp::PATH {
                    mcp.handle(request).await
                } else {
                    plain::answer(&supervise, request).await
                })
            }
        })
        .await;
    }
}
