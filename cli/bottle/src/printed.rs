//! What a command prints for programs.

use crate::args::{Command, Document, GitAction, ImagesAction};

/// Returns the document that a command prints as JSON, if it was asked to.
pub fn printed_by(command: &Command) -> Option<Document> {
    match command {
        Command::Audit { json: true, .. } => Some(Document::AuditCheck),
        Command::Check { json: true, .. } => Some(Document::Check),
        Command::Cleanup { json: true, .. } => Some(Document::Cleanup),
        Command::Config { json: true } => Some(Document::Config),
        Command::Diff { json: true, .. } => Some(Document::Diff),
        Command::Doctor { json: true, .. } => Some(Document::Doctor),
        Command::Git { action: GitAction::List { json: true }, .. } => Some(Document::GitList),
        Command::Images { action: ImagesAction::Ls { json: true } } => Some(Document::ImagesLs),
        Command::Images { action: ImagesAction::Pull { json: true, .. } } => Some(Document::ImagesPull),
        Command::Images { action: ImagesAction::Rm { json: true, .. } } => Some(Document::ImagesRm),
        Command::Images { action: ImagesAction::Prune { json: true } } => Some(Document::ImagesPrune),
        Command::Inbox { json: true } => Some(Document::Inbox),
        Command::Inspect { .. } => Some(Document::Inspect),
        Command::Ls { json: true, .. } => Some(Document::Ls),
        Command::Plan { json: true, diff: true, .. } => Some(Document::PlanDiff),
        Command::Plan { json: true, .. } => Some(Document::Plan),
        Command::Pool { json: true, .. } => Some(Document::Pool),
        // What is followed has no end, and so no envelope.
        Command::Stats { json: true, follow: false, .. } => Some(Document::Stats),
        Command::Suggest { json: true, .. } => Some(Document::Suggest),
        Command::Top { json: true, .. } => Some(Document::Top),
        Command::Status { json: true, .. } => Some(Document::Status),
        Command::Trash { json: true, .. } => Some(Document::Trash),
        Command::Verify { json: true, .. } => Some(Document::Verify),
        _ => None,
    }
}
