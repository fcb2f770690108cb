//! Networks assembled from bottle's parts, in which everything is tried.

use super::canaries::{HostCanaries, answer_all, known_canaries};
use super::probed::Probed;
use super::questions::{self, RAW, WITNESSES};
use crate::assembly::{Assembly, Walls};
use crate::environment::Environment;
use anyhow::Result;
use bottle_verify::questions::Questions;
use bottle_verify::scope::Scope;
use bottle_verify::talk::Talk;
use std::thread;

/// Runs the probes in a guest of a network with these walls. The witness is right behind its door.
pub fn probe(walls: Walls, environment: &Environment, canaries: &HostCanaries) -> Result<Probed> {
    let assembly = Assembly::new(walls, environment, |door| {
        let nonce = canaries.nonce().to_owned();
        thread::spawn(move || answer_all(&door, &nonce));
    })?;
    let plan = assembly.plan();
    let guest = assembly.guest(environment, &["probe"])?;
    let scope = Scope::of(plan, canaries.sample(), environment.is_real());
    let mut questions = Questions::default();
    questions.ask(WITNESSES[0], questions::witness(plan));
    questions.all(&scope, &known_canaries(), canaries.nonce());
    canaries.ask_for_files(&mut questions, &assembly.folder().state().join(".."));
    questions.ask(RAW, questions::raw(plan));
    questions.ask(WITNESSES[1], questions::witness(plan));
    Probed::by(Talk::begin(guest, questions)?, scope)
}
