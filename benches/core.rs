//! The core's costs, compared with a copy of the same frame in the same run.

use bottle_benches::{allowed_frame, plan_and_render};
use bottle_core::guard::FirstPacket;
use bottle_core::guard::{Reply, Verdict};
use bottle_core::subnet::Subnet;
use bottle_core::wire;
use bottle_oracle::{compare, frames};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::Ipv4Addr;

const DOOR: u16 = 20_000;
const LENGTHS: [usize; 3] = [64, 1_500, 65_000];

fn guard(c: &mut Criterion) {
    let (guard, bottle) = compare::both(Subnet::FIXED, &[DOOR, 23_456, 29_998]);
    let template = guard.frame(&FirstPacket::Tcp(bottle.proxy, DOOR));
    let mut room = Reply::default();
    let mut group = c.benchmark_group("frame");
    for len in LENGTHS {
        let frame = allowed_frame(&template, len);
        assert_eq!(guard.from_guest(&frame, &mut room), Verdict::Forward);
        let mut copy = vec![0; len];
        group.bench_with_input(BenchmarkId::new("copy", len), &frame, |b, frame| {
            b.iter(|| black_box(&mut copy[..]).copy_from_slice(black_box(frame)));
        });
        group.bench_with_input(BenchmarkId::new("allowed", len), &frame, |b, frame| {
            b.iter(|| black_box(guard.from_guest(black_box(frame), &mut room)) == Verdict::Forward);
        });
        let refused = {
            let other = guard.frame(&FirstPacket::Tcp(bottle.proxy, 80));
            allowed_frame(&other, len)
        };
        group.bench_with_input(BenchmarkId::new("reset", len), &refused, |b, frame| {
            b.iter(|| matches!(guard.from_guest(black_box(frame), &mut room), Verdict::Refuse(_, Some(_))));
        });
        group.bench_with_input(BenchmarkId::new("decode", len), &frame, |b, frame| {
            let stream = [&wire::header(frame.len()).unwrap()[..], frame].concat();
            b.iter(|| wire::split_frame(black_box(&stream)).unwrap().unwrap().frame.len());
        });
    }
    for (name, packet) in [
        ("unreachable", FirstPacket::Udp(Ipv4Addr::new(192, 0, 2, 1), 53)),
        ("nxdomain", FirstPacket::Resolve("secret-data.example.com".to_owned())),
        ("resolved", FirstPacket::Resolve("proxy.internal".to_owned())),
        ("arp", FirstPacket::Arp(bottle.gateway)),
    ] {
        let frame = guard.frame(&packet);
        group.bench_function(name, |b| {
            b.iter(|| matches!(guard.from_guest(black_box(&frame), &mut room), Verdict::Forward));
        });
    }
    let inwards = frames::to_guest(&bottle).into_iter().find(|frame| guard.to_guest(frame).is_ok()).unwrap();
    group.bench_function("to-guest", |b| b.iter(|| guard.to_guest(black_box(&inwards))));
    group.finish();
}

fn plan(c: &mut Criterion) {
    let slug = "my-project".parse().unwrap();
    c.bench_function("plan-and-render", |b| b.iter(|| plan_and_render(black_box(&slug))));
}

criterion_group!(benches, guard, plan);
criterion_main!(benches);
