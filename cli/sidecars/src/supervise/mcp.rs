//! The tools as an MCP server, built with the protocol's official SDK.

use super::messages::{Ask, Outcome, Report, RequestHost, Resume};
use super::tools::Supervise;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{Implementation, ServerCapabilities, ServerConfig};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{Json, ServerHandler, tool, tool_handler, tool_router};
use std::sync::Arc;

/// The server's path on the door.
pub const PATH: &str = "/mcp";
/// The longest request, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// The tools that the agent sees.
#[derive(Clone)]
pub struct Tools(Arc<Supervise>);

#[tool_router]
impl Tools {
    #[tool(
        description = "Ask the operator to let this sandbox reach a host, and wait for the decision. Use it when the egress proxy answers 403."
    )]
    async fn request_host(
        &self,
        Parameters(request): Parameters<RequestHost>,
    ) -> Result<Json<Outcome>, String> {
        self.0.request_host(request).await.map(Json)
    }

    #[tool(description = "Ask the operator a question, and wait for the answer.")]
    async fn ask(&self, Parameters(ask): Parameters<Ask>) -> Result<Json<Outcome>, String> {
        self.0.ask(ask).await.map(Json)
    }

    #[tool(description = "Go on waiting for a decision that was `undecided`, by the id that came with it.")]
    async fn decision(&self, Parameters(resume): Parameters<Resume>) -> Result<Json<Outcome>, String> {
        self.0.decision(resume).await.map(Json)
    }

    #[tool(description = "Tell the operator what you are doing. It does not wait.")]
    async fn report(&self, Parameters(report): Parameters<Report>) -> Result<Json<Outcome>, String> {
        self.0.report(&report).map(Json)
    }
}

#[tool_handler]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("bottle-supervise", env!("CARGO_PKG_VERSION")))
            .with_instructions(format!(
                "You run in the sandbox {}. Your operator decides what it may reach. If the proxy answers CONNECT with \
                 403, the host is not allowed: ask for it with request_host. If the decision is `undecided`, go on with \
                 something else and ask later with `decision` and the id. {} says more.",
                self.0.slug,
                bottle_core::helper::GUIDE
            ))
    }
}

/// Returns the MCP server. It keeps no sessions, so an agent cannot fill it with them.
pub fn service(supervise: Arc<Supervise>) -> StreamableHttpService<Tools, LocalSessionManager> {
    let mut config = StreamableHttpServerConfig::default().with_allowed_hosts([bottle_core::PROXY_NAME]);
    config.legacy_session_mode = false;
    config.max_request_body_bytes = MAX_BODY;
    StreamableHttpService::new(move || Ok(Tools(Arc::clone(&supervise))), Arc::default(), config)
}
