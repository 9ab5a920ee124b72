//! Beats on a real clock, and what members leave behind.

use crate::*;
use rand::{Rng, SeedableRng};
use sectorbus::membership::Table;

fn beat_of(who: &str) -> Beat {
    Beat {
        incarnation: node(who),
        address: format!("{who} at 127.0.0.1:1"),
        state: MemberState::In,
        ttl: Duration::from_millis(600),
        period: Duration::from_millis(500),
        settings: "s1".into(),
        joining: false,
        ring_above: None,
        suspects: vec![],
    }
}

async fn roll_of(log: &RedisLog, beat: Beat) -> Roll {
    match log.beat(beat).await.unwrap() {
        Beaten::Ok(roll) => roll,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_pause_of_redis_and_a_restart_spare_the_members() -> Result<()> {
    let (mut server, log) = start().await?;
    let ttl = Duration::from_secs(2);
    let calm = roll_of(&log, Beat { ttl, ..beat_of("a#1") }).await;
    let before = roll_of(&log, Beat { ttl, ..beat_of("b#1") }).await;
    assert_eq!((calm.calm_until_ms, before.calm_until_ms), (0, 0));
    server.restart().await?;
    let after = until("beats again", || async { log.beat(Beat { ttl, ..beat_of("a#1") }).await.ok() }).await;
    let Beaten::Ok(after) = after else { panic!("{after:?}") };
    assert_eq!(after.members.len(), 2);
    assert!(after.replication_id != before.replication_id && after.calm_until_ms > after.time_ms);
    assert_eq!(after.ring, before.ring);
    let spared_until = |roll: &Roll| roll.members.iter().find(|m| m.incarnation == node("b#1")).map(|m| m.expires_ms);
    assert!(spared_until(&after) > spared_until(&before));
    Ok(())
}

/// Beats as seeded chance has them, short-lived members, and time that passes: each answer is that of the pure table
/// at the same time.
#[tokio::test]
async fn the_beat_script_decides_as_the_pure_table() -> Result<()> {
    let (_server, log) = start().await?;
    let mut table = Table::default();
    let mut rng = rand::rngs::StdRng::seed_from_u64(17);
    let mut lives = [1u64; 5];
    let (mut deaths, mut calms) = (0, 0);
    for step in 0..3_000 {
        // Lower numbers beat more often; the last ones expire now and then.
        let who = rng.random_range(0..5usize).min(rng.random_range(0..5));
        let state = if rng.random_bool(0.1) { MemberState::Draining } else { MemberState::In };
        let beat = Beat {
            state,
            ttl: Duration::from_millis(12),
            joining: rng.random_bool(0.1),
            ring_above: rng.random_bool(0.02).then(|| RingVersion(2_000_000_000_000 + step)),
            ..beat_of(&format!("n{who}#{}", lives[who]))
        };
        if rng.random_bool(0.02) {
            // Not a wait for anything: nobody beats for a while, which is what is tested.
            tokio::time::sleep(Duration::from_millis(rng.random_range(1..20))).await;
        }
        match log.beat(beat.clone()).await? {
            Beaten::Gone => {
                assert!(table.is_gone(&beat.incarnation), "step {step}");
                lives[who] += 1;
            }
            Beaten::Ok(roll) => {
                let silent = roll.silent.clone();
                let subscribers = |peer: &Incarnation| u64::from(!silent.contains(peer));
                let expected = table.beat(&beat, roll.time_ms, &roll.replication_id, subscribers);
                deaths = roll.gone.len();
                calms += u32::from(roll.calm_until_ms > 0);
                assert_eq!(Beaten::Ok(roll), expected, "step {step}");
            }
            other => panic!("step {step}: {other:?}"),
        }
    }
    assert!(deaths > 3 && calms > 3, "{deaths} deaths, {calms} calm answers: too few to say anything");
    Ok(())
}
