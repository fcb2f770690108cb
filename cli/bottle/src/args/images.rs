//! `bottle images`.

use crate::complete;
use clap::Subcommand;

// What to do with images.
#[expect(missing_docs, reason = "clap would say it in place of what the subcommand says")]
#[derive(Clone, Debug, Subcommand)]
#[command(defer = true)]
pub enum ImagesAction {
    /// List the names that were looked up, with what each means here
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask the registry what a name means now, and fetch it
    Pull {
        /// The image: python:3.12-alpine, example.com/team/image:1
        #[arg(add = complete::images())]
        image: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget an image, and remove what no other one needs
    Rm {
        /// The image's name, or at least 12 digits of its digest
        #[arg(add = complete::images())]
        image: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove every image that no bottle was made from
    Prune {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}
