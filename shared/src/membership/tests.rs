//! The table's decisions at exact times, and what a node makes of the answers.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ids::{Incarnation, RingVersion};
use crate::log::{Beat, Beaten, MemberState, Roll};

const TTL_MS: u64 = 2_000;
const PERIOD: Duration = Duration::from_millis(500);
const START_MS: u64 = 1_790_000_000_000;

fn node(name: &str) -> Incarnation {
    format!("{name}#1").parse().unwrap()
}

fn beat_of(name: &str) -> Beat {
    Beat {
        incarnation: node(name),
        address: "address".to_owned(),
        state: MemberState::In,
        ttl: Duration::from_millis(TTL_MS),
        period: PERIOD,
        settings: "settings".to_owned(),
        joining: false,
        ring_above: None,
        suspects: Vec::new(),
    }
}

/// A table with a clock of its own, where peers are heard unless they are named silent.
struct Scene {
    table: Table,
    now_ms: u64,
    replication_id: &'static str,
    silent: Vec<Incarnation>,
}

impl Scene {
    fn new() -> Self {
        Self { table: Table::default(), now_ms: START_MS, replication_id: "r1", silent: Vec::new() }
    }

    fn send(&mut self, beat: &Beat) -> Beaten {
        let silent = &self.silent;
        self.table.beat(beat, self.now_ms, self.replication_id, |peer| u64::from(!silent.contains(peer)))
    }

    fn beat(&mut self, name: &str) -> Roll {
        match self.send(&beat_of(name)) {
            Beaten::Ok(roll) => roll,
            refused => panic!("{refused:?}"),
        }
    }

    fn after(&mut self, ms: u64) -> &mut Self {
        self.now_ms += ms;
        self
    }
}

fn names(roll: &Roll) -> Vec<&str> {
    roll.members.iter().map(|member| member.incarnation.node_name()).collect()
}

#[test]
fn a_member_expires_exactly_one_ttl_after_its_last_beat() {
    let mut scene = Scene::new();
    scene.beat("b");
    for _ in 0..3 {
        assert_eq!(names(&scene.after(500).beat("a")), ["a", "b"]);
    }
    assert_eq!(names(&scene.after(499).beat("a")), ["a", "b"]);
    let after = scene.after(1).beat("a");
    assert_eq!(names(&after), ["a"]);
    assert_eq!(after.gone[&node("b")], scene.now_ms);
    assert!(after.ring.0 >= scene.now_ms);
}

#[test]
fn a_pause_spares_everyone_once_until_their_own_next_beat() {
    let mut scene = Scene::new();
    scene.beat("a");
    scene.beat("b");
    let spared = scene.after(10_000).beat("a");
    assert_eq!(names(&spared), ["a", "b"]);
    assert_eq!(spared.calm_until_ms, scene.now_ms + TTL_MS);
    // Both have beaten since: both may be spared again.
    scene.after(100).beat("b");
    let again = scene.after(10_000).beat("a");
    assert_eq!(names(&again), ["a", "b"]);
    // Only a has beaten since: the next pause ends b.
    let third = scene.after(10_000).beat("c");
    assert_eq!(names(&third), ["a", "c"]);
}

#[test]
fn a_clock_that_goes_back_kills_nobody_and_makes_nobody_immortal() {
    let mut scene = Scene::new();
    scene.beat("a");
    scene.beat("b");
    scene.now_ms -= 3_600_000;
    let back = scene.beat("a");
    assert_eq!(names(&back), ["a", "b"]);
    assert_eq!(back.calm_until_ms, scene.now_ms + TTL_MS);
    for _ in 0..4 {
        scene.after(500).beat("a");
    }
    assert_eq!(names(&scene.beat("a")), ["a"], "b expires by the new clock");
}

#[test]
fn another_server_spares_and_calms() {
    let mut scene = Scene::new();
    scene.beat("a");
    assert_eq!(scene.after(500).beat("a").calm_until_ms, 0);
    scene.replication_id = "r2";
    let roll = scene.after(500).beat("a");
    assert_eq!((roll.replication_id.as_str(), roll.calm_until_ms), ("r2", scene.now_ms + TTL_MS));
    scene.after(1_000).beat("a");
    assert_eq!(scene.after(1_000).beat("a").calm_until_ms, 0);
}

#[test]
fn the_fast_path_needs_two_silences_an_overdue_beat_and_no_calm() {
    let suspecting = |name: &str| Beat { suspects: vec![node("b")], ..beat_of(name) };
    let lives = |beaten: Beaten| matches!(beaten, Beaten::Ok(roll) if names(&roll).contains(&"b"));
    let overdue_ms = silent_dead_after(PERIOD).as_millis() as u64;

    let mut scene = Scene::new();
    scene.beat("b");
    for _ in 0..5 {
        scene.after(200).beat("a");
    }
    scene.silent = vec![node("b")];
    assert!(lives(scene.send(&suspecting("a"))), "not overdue yet");
    scene.now_ms = START_MS + overdue_ms;
    assert_eq!(scene.beat("a").silent, [node("b")]);
    assert!(lives(scene.send(&beat_of("a"))), "not silent at the asker's last beat");
    assert!(!lives(scene.send(&suspecting("a"))));

    let mut scene = Scene::new();
    scene.beat("b");
    scene.after(overdue_ms).beat("a");
    scene.silent = vec![node("b")];
    assert!(lives(scene.send(&suspecting("a"))), "the pause before was a spare: calm");
}

#[test]
fn a_silent_peer_is_overdue_by_its_own_period() {
    // Beats of b and of the asker at different periods, and how long after b's last beat it may be expired.
    for (period_ms, askers_ms, dead_after_ms) in [(200, 500, 500), (600, 100, 1_500), (50, 50, 125)] {
        let mut scene = Scene::new();
        scene.silent = vec![node("b")];
        scene.send(&Beat { period: Duration::from_millis(period_ms), ..beat_of("b") });
        let suspecting = Beat { suspects: vec![node("b")], period: Duration::from_millis(askers_ms), ..beat_of("a") };
        let mut expired_after = |after_ms: u64| {
            // The asker beats in between, or the region itself would have paused.
            while scene.now_ms + 400 < START_MS + after_ms {
                scene.after(400).beat("a");
            }
            scene.now_ms = START_MS + after_ms;
            matches!(scene.send(&suspecting), Beaten::Ok(roll) if roll.gone.contains_key(&node("b")))
        };
        assert!(!expired_after(dead_after_ms - 1), "a beat every {period_ms} ms, after {} ms", dead_after_ms - 1);
        assert!(expired_after(dead_after_ms), "a beat every {period_ms} ms, after {dead_after_ms} ms");
    }
}

#[test]
fn gone_members_are_forgotten_after_an_hour() {
    let mut scene = Scene::new();
    scene.beat("a");
    scene.beat("b");
    scene.table.leave(&node("b"), scene.now_ms);
    assert!(scene.after(3_600_000).beat("a").gone.contains_key(&node("b")));
    assert!(scene.after(1).beat("a").gone.is_empty());
    assert!(!scene.table.is_gone(&node("b")));
}

#[test]
fn who_was_never_seen_may_leave_and_is_gone() {
    let mut scene = Scene::new();
    let ring = scene.beat("a").ring;
    scene.table.leave(&node("b"), scene.now_ms);
    assert_eq!(scene.send(&beat_of("b")), Beaten::Gone);
    assert_eq!(scene.beat("a").ring, ring);
    assert_eq!(scene.table.peek(scene.now_ms).members.len(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Beat { who: usize, draining: bool },
    Leave { who: usize },
    Pass { ms: u64 },
    OtherServer,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..4usize, prop::bool::weighted(0.2)).prop_map(|(who, draining)| Step::Beat { who, draining }),
        1 => (0..4usize).prop_map(|who| Step::Leave { who }),
        4 => (0..3_000u64).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::OtherServer),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// Whatever happens: the ring version never falls and moves iff the ring's set does; nobody is both living and
    /// gone; nobody who beat within one ttl expires.
    #[test]
    fn the_roll_is_consistent_after_any_steps(steps in steps()) {
        let mut scene = Scene::new();
        let mut ring: Option<(RingVersion, BTreeSet<Incarnation>)> = None;
        let mut last_beat_ms = [0u64; 4];
        let mut lives = [1u64; 4];
        for step in steps {
            let (who, draining) = match step {
                Step::Beat { who, draining } => (who, draining),
                Step::Leave { who } => {
                    scene.table.leave(&format!("n{who}#{}", lives[who]).parse().unwrap(), scene.now_ms);
                    continue;
                }
                Step::Pass { ms } => {
                    scene.now_ms += ms;
                    continue;
                }
                Step::OtherServer => {
                    scene.replication_id = if scene.replication_id == "r1" { "r2" } else { "r1" };
                    continue;
                }
            };
            let state = if draining { MemberState::Draining } else { MemberState::In };
            let mine: Incarnation = format!("n{who}#{}", lives[who]).parse().unwrap();
            let roll = match scene.send(&Beat { incarnation: mine.clone(), state, ..beat_of("n") }) {
                Beaten::Ok(roll) => roll,
                Beaten::Gone => {
                    lives[who] += 1;
                    continue;
                }
                refused => panic!("{refused:?}"),
            };
            last_beat_ms[who] = scene.now_ms;
            let set: BTreeSet<Incarnation> = roll.on_ring().map(|member| member.incarnation.clone()).collect();
            if let Some((version, before)) = &ring {
                prop_assert!(roll.ring >= *version);
                prop_assert!(set == *before || roll.ring > *version);
            }
            ring = Some((roll.ring, set));
            prop_assert!(roll.members.iter().all(|member| !roll.gone.contains_key(&member.incarnation)));
            prop_assert!(roll.members.iter().any(|member| member.incarnation == mine && member.state == state));
            for member in &roll.members {
                prop_assert!(member.expires_ms > scene.now_ms && member.expires_ms <= scene.now_ms + TTL_MS);
            }
        }
    }
}

fn watch() -> Watch {
    Watch::new(node("a"), "address".to_owned(), "settings".to_owned(), Duration::from_millis(TTL_MS), PERIOD)
}

/// One beat through a scene.
fn watched(scene: &mut Scene, watch: &mut Watch) -> Change {
    watch.hear(scene.send(&watch.next_beat(MemberState::In)))
}

#[test]
fn a_watch_tells_what_changed_and_only_that() {
    let (mut scene, mut watch) = (Scene::new(), watch());
    assert!(watch.next_beat(MemberState::In).joining);
    let joined = watched(&mut scene, &mut watch);
    assert_eq!(joined.ring.map(|(_, on_ring)| on_ring), Some(vec![node("a")]));
    assert!(!watch.next_beat(MemberState::In).joining);
    assert_eq!(watched(&mut scene, &mut watch), Change::default());

    scene.beat("b");
    let change = watched(&mut scene, &mut watch);
    assert_eq!(change.ring, Some(watch.ring().clone()));
    assert_eq!(watch.ring().1, [node("a"), node("b")]);

    scene.table.leave(&node("b"), scene.now_ms);
    let change = watched(&mut scene, &mut watch);
    assert_eq!(change.died, [node("b")]);
    assert_eq!(watched(&mut scene, &mut watch), Change::default());
}

#[test]
fn a_draining_peer_leaves_the_ring_and_stays_a_member() {
    let (mut scene, mut watch) = (Scene::new(), watch());
    scene.beat("b");
    watched(&mut scene, &mut watch);
    scene.send(&Beat { state: MemberState::Draining, ..beat_of("b") });
    let change = watched(&mut scene, &mut watch);
    assert_eq!(change.ring.map(|(_, on_ring)| on_ring), Some(vec![node("a")]));
    assert!(change.died.is_empty() && names(watch.roll().unwrap()).contains(&"b"));
}

#[test]
fn a_watch_passes_its_suspects_on() {
    let (mut scene, mut watch) = (Scene::new(), watch());
    scene.beat("b");
    watched(&mut scene, &mut watch);
    scene.silent = vec![node("b")];
    watched(&mut scene, &mut watch);
    assert_eq!(watch.next_beat(MemberState::In).suspects, [node("b")]);
    scene.silent.clear();
    watched(&mut scene, &mut watch);
    assert!(watch.next_beat(MemberState::In).suspects.is_empty());
}

#[test]
fn a_gone_node_knows_itself_gone() {
    let (mut scene, mut watch) = (Scene::new(), watch());
    watched(&mut scene, &mut watch);
    scene.table.leave(&node("a"), scene.now_ms);
    let change = watched(&mut scene, &mut watch);
    assert_eq!(change, Change { gone_self: true, ..Change::default() });
}

#[test]
fn a_ring_that_went_back_is_not_believed_but_raised() {
    let (mut scene, mut watch) = (Scene::new(), watch());
    watched(&mut scene, &mut watch);
    let before_b = scene.table.clone();
    scene.after(100).beat("b");
    watched(&mut scene, &mut watch);
    let newest = watch.ring().0;
    // The region loses b's joining. Its ring version is an old one; ours must not fall.
    scene.table = before_b;
    assert_eq!(watched(&mut scene, &mut watch).ring, None);
    assert_eq!(watch.ring().0, newest);
    assert_eq!(watch.next_beat(MemberState::In).ring_above, Some(newest));
    let change = watched(&mut scene, &mut watch);
    let (version, on_ring) = change.ring.unwrap();
    assert!(version > newest);
    assert_eq!(on_ring, [node("a")]);
    assert_eq!(watch.next_beat(MemberState::In).ring_above, None);
}

#[test]
fn a_stale_claim_raises_the_ring_once() {
    let (mut scene, mut watch) = (Scene::new(), watch());
    watched(&mut scene, &mut watch);
    let seen = RingVersion(watch.ring().0.0 + 50_000);
    watch.raise_above(seen);
    assert_eq!(watch.next_beat(MemberState::In).ring_above, Some(seen));
    let change = watched(&mut scene, &mut watch);
    assert!(change.ring.is_some_and(|(version, _)| version > seen));
    assert_eq!(watch.next_beat(MemberState::In).ring_above, None);
    watch.raise_above(RingVersion(1));
    assert_eq!(watch.next_beat(MemberState::In).ring_above, None, "it is above already");
}
