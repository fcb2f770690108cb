//! supervise: the sidecar through which the agent asks its operator for something.
//!
//! It offers the same three tools over MCP (streamable HTTP, at `/mcp`) and as plain HTTP (`POST /ask`). A
//! call waits, for as long as the agent chose, until a person decides with `bottle approve` or
//! `bottle refuse`. The agent's text is shown to that person, escaped, and never run.

pub mod inbox;
mod mcp;
mod messages;
mod plain;
mod rate;
mod serve;
mod tools;

pub use tools::Supervise;
