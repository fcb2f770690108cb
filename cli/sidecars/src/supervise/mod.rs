//! supervise: where the agent asks its operator for something.
//!
//! The same three tools over MCP (streamable HTTP, at `/mcp`) and as plain HTTP (`POST /ask`). A call
//! waits, as long as it chose to, for what a person decides with `bottle approve` or `bottle refuse`.
//! What the agent says is shown to that person, escaped, and never run.

pub mod inbox;
mod mcp;
mod messages;
mod plain;
mod rate;
mod serve;
mod tools;

pub use tools::Supervise;
