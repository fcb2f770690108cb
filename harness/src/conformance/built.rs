//! Networks built of bottle's parts, asked everything.

use super::questions::{self, RAW, WITNESSES};
use super::subject::Probed;
use super::world::{World, answer_all, canaries};
use crate::ground::Ground;
use crate::parts::{Built, Parts};
use anyhow::Result;
use bottle_verify::questions::Questions;
use bottle_verify::scope::Scope;
use bottle_verify::talk::Talk;
use std::thread;

/// Runs the probes in a guest of a network of these parts, with the witness right behind its door.
pub fn probe(parts: Parts, ground: &Ground, world: &World) -> Result<Probed> {
    let built = Built::new(parts, ground, |door| {
        let nonce = world.nonce().to_owned();
        thread::spawn(move || answer_all(&door, &nonce));
    })?;
    let plan = built.plan();
    let guest = built.guest(ground, &["probe"])?;
    let scope = Scope::of(plan, world.sample(), ground.is_real());
    let mut questions = Questions::default();
    questions.ask(WITNESSES[0], questions::witness(plan));
    questions.all(&scope, &canaries(), world.nonce());
    world.ask_for_files(&mut questions, &built.folder().state().join(".."));
    questions.ask(RAW, questions::raw(plan));
    questions.ask(WITNESSES[1], questions::witness(plan));
    Probed::by(Talk::begin(guest, questions)?, scope)
}
