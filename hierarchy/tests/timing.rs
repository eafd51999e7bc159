//! Gates to the tick, and the checker against planted violations: for every constraint of every standard.

use memloupe_hierarchy::dram::{
    Command, Constraint, Device, IssuedCommand, Scope, Standard, Target, Tick, TimingState, TimingTable,
    check,
};

/// Two ranks, so that siblings exist.
const RANKS: u32 = 2;

fn devices() -> Vec<Device> {
    Standard::all()
        .iter()
        .flat_map(|standard| standard.bins().map(|bin| standard.device(bin, None).unwrap()))
        .collect()
}

/// Ticks from issue to issue that a constraint asks for.
fn delay(device: &Device, constraint: &Constraint, preceding: Command, following: Command) -> Tick {
    let ticks = device.ticks(&constraint.expression);
    if device.from_first_tick {
        return ticks;
    }
    let [p, f] = [preceding, following].map(|command| device.command_ticks[command as usize]);
    (ticks + p).saturating_sub(f)
}

/// Two banks that share the instance of `scope`, and of no inner scope where that can be; with `sibling`, that are in
/// two instances of it under one parent.
fn banks(device: &Device, constraint: &Constraint) -> (u32, u32) {
    let Constraint { scope, sibling, .. } = *constraint;
    let ranks = RANKS * device.stack_ids;
    let sizes = [1, device.pseudo_channels, ranks, device.bank_groups, device.banks];
    let step = |scope: Scope| sizes[scope as usize + 1..].iter().product::<u32>();
    let inner = Scope::ALL
        .into_iter()
        .find(|inner| *inner > scope && sizes[*inner as usize] > 1);
    let commands = constraint.preceding.iter().chain(&constraint.following);
    let same_bank = scope < Scope::BankGroup && { commands }.any(|c| c.target() == Target::SameBank);
    match (sibling, inner) {
        (true, _) => (0, step(scope)),
        // A command to the same bank of every group must not reach the other by that.
        (false, Some(inner)) if same_bank => (0, step(inner) + 1),
        (false, Some(inner)) => (0, step(inner)),
        (false, None) => (0, 0),
    }
}

/// Whether the constraint speaks to these two banks.
fn applies(device: &Device, constraint: &Constraint, (one, other): (u32, u32)) -> bool {
    let ranks = RANKS * device.stack_ids;
    let sizes = [1, device.pseudo_channels, ranks, device.bank_groups, device.banks];
    let instance = |bank: u32, scope: usize| bank / sizes[scope + 1..].iter().product::<u32>();
    let scope = constraint.scope as usize;
    if constraint.sibling {
        instance(one, scope) != instance(other, scope)
            && instance(one, scope - 1) == instance(other, scope - 1)
    } else {
        instance(one, scope) == instance(other, scope)
    }
}

/// The longest that any constraint or the bus makes `following` wait after one `preceding`.
fn longest(device: &Device, preceding: Command, following: Command, banks: (u32, u32)) -> Tick {
    let constraints = device.constraints.iter().filter(|c| {
        c.window == 1
            && c.preceding.contains(&preceding)
            && c.following.iter().any(|f| f.gate() == following.gate())
            && applies(device, c, banks)
    });
    let one_bus = !device.dual_bus || preceding.is_column() == following.is_column();
    let bus = if one_bus && device.command_ticks[preceding as usize] > 1 {
        device.command_ticks[preceding as usize]
    } else {
        0
    };
    constraints
        .map(|c| delay(device, c, preceding, following))
        .max()
        .unwrap_or(0)
        .max(bus)
}

fn command(tick: Tick, command: Command, bank: u32) -> IssuedCommand {
    IssuedCommand {
        tick,
        command,
        bank,
        row: 1,
        column: 0,
    }
}

/// The violations of timing, not of state: planted traces have no past.
fn too_soon(device: &Device, commands: &[IssuedCommand]) -> usize {
    check(device, RANKS, commands)
        .iter()
        .filter(|violation| violation.after.is_some())
        .count()
}

#[test]
fn every_gate_opens_at_its_tick_and_not_before() {
    let mut checked = 0;
    for device in devices() {
        let table = TimingTable::new(&device, RANKS);
        for constraint in device
            .constraints
            .iter()
            .filter(|constraint| constraint.window == 1)
        {
            let banks = banks(&device, constraint);
            for &preceding in &constraint.preceding {
                for following in constraint.following.iter().map(|following| following.gate()) {
                    // An odd tick: where there are two edges, the rising one.
                    let tick = 1001;
                    let mut state = TimingState::new(&table);
                    state.issue(&table, preceding, banks.0 as usize, tick);
                    let open = tick + longest(&device, preceding, following, banks);
                    let open = table.on_edge(following, open);
                    let gate = state.gate(&table, following, banks.1 as usize);
                    assert_eq!(
                        gate.max(tick),
                        open,
                        "{}: {preceding} -> {following} {constraint:?}",
                        device.name
                    );
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 2000, "{checked}");
}

#[test]
fn the_fifth_activate_waits_for_the_first_of_four() {
    for device in devices() {
        let table = TimingTable::new(&device, RANKS);
        for constraint in device
            .constraints
            .iter()
            .filter(|constraint| constraint.window == 4)
        {
            let mut state = TimingState::new(&table);
            let banks = device.banks as usize;
            // Four banks at once: the window is all that counts.
            for activate in 0..4 {
                state.issue(&table, Command::Activate, activate % banks, 1001);
            }
            let wait = delay(&device, constraint, Command::Activate, Command::Activate);
            // In the other rank, the window has not begun.
            let path_banks = (device.bank_groups * device.banks) as usize;
            let other_rank = path_banks * device.stack_ids as usize * RANKS as usize / 2;
            let fifth = state.gate(&table, Command::Activate, path_banks - 1);
            assert_eq!(
                fifth,
                table.on_edge(Command::Activate, 1001 + wait),
                "{}",
                device.name
            );
            if constraint.scope == Scope::Rank {
                assert!(
                    state.gate(&table, Command::Activate, other_rank) < fifth,
                    "{}",
                    device.name
                );
            }
        }
    }
}

#[test]
fn the_checker_finds_every_planted_violation_and_nothing_at_the_tick_after() {
    let mut planted = 0;
    for device in devices() {
        for constraint in device
            .constraints
            .iter()
            .filter(|constraint| constraint.window == 1)
        {
            let banks = banks(&device, constraint);
            for &preceding in &constraint.preceding {
                for &following in &constraint.following {
                    let wait = longest(&device, preceding, following, banks);
                    if wait <= 1 {
                        continue;
                    }
                    let trace = |wait: Tick| {
                        [
                            command(1001, preceding, banks.0),
                            command(1001 + wait, following, banks.1),
                        ]
                    };
                    let context = format!("{}: {preceding} -> {following} {constraint:?}", device.name);
                    assert!(too_soon(&device, &trace(wait - 1)) > 0, "missed {context}");
                    assert_eq!(too_soon(&device, &trace(wait)), 0, "wrong alarm {context}");
                    planted += 1;
                }
            }
        }
        for constraint in device
            .constraints
            .iter()
            .filter(|constraint| constraint.window == 4)
        {
            let wait = delay(&device, constraint, Command::Activate, Command::Activate);
            // As far apart as they may be, in different bank groups.
            let group = if device.bank_groups > 1 { device.banks } else { 1 };
            let trace = |last: Tick| {
                let place = |i: u32| {
                    (i * group) % (device.bank_groups * device.banks) + i / device.bank_groups.max(4)
                };
                let spacing = wait.div_ceil(4).max(1);
                let mut commands: Vec<_> = (0..4)
                    .map(|i| command(1001 + u64::from(i) * spacing, Command::Activate, place(i)))
                    .collect();
                commands.push(command(1001 + last, Command::Activate, place(4)));
                commands
            };
            let breaks = |commands: &[IssuedCommand]| {
                check(&device, RANKS, commands)
                    .iter()
                    .any(|violation| violation.rule == "tFAW")
            };
            assert!(breaks(&trace(wait - 1)), "{}", device.name);
            assert!(!breaks(&trace(wait)), "{}", device.name);
            planted += 1;
        }
    }
    assert!(planted > 2000, "{planted}");
}

#[test]
fn the_checker_finds_activates_whose_halves_do_not_belong_together() {
    let device = Device::find("LPDDR5-6400").unwrap();
    let within = device.second_activate_ticks.unwrap();
    let first = |tick, bank| command(tick, Command::Activate, bank);
    let second = |tick, bank| command(tick, Command::ActivateSecond, bank);
    let breaks = |commands: &[IssuedCommand]| {
        let found = check(&device, 1, commands);
        { found.iter() }
            .map(|violation| violation.rule)
            .collect::<Vec<_>>()
    };
    assert_eq!(breaks(&[first(1, 0), second(1 + within, 0)]), [""; 0]);
    assert_eq!(breaks(&[first(1, 0), second(2 + within, 0)]), ["tAAD"]);
    assert_eq!(breaks(&[second(9, 0)]), ["ACTIVATE-2 without its ACTIVATE-1"]);
    assert_eq!(
        breaks(&[first(1, 0), second(5, 4)]),
        ["ACTIVATE-2 without its ACTIVATE-1"]
    );
    assert_eq!(
        breaks(&[first(1, 0), first(7, 4)]),
        ["ACTIVATE-1 before the ACTIVATE-2 of another"]
    );
    assert_eq!(
        breaks(&[first(1, 0), command(101, Command::Precharge, 0)]),
        ["command to a bank that waits for its ACTIVATE-2"]
    );
}

#[test]
fn the_checker_finds_what_the_state_forbids() {
    let device = Device::find("DDR4-3200AA").unwrap();
    // Tick, command, row.
    type Commands = &'static [(Tick, Command, u32)];
    let cases: [(&str, Commands); 5] = [
        (
            "activate of an open bank",
            &[(1, Command::Activate, 1), (1001, Command::Activate, 2)],
        ),
        (
            "column command to a row that is not open",
            &[(1, Command::Read, 1)],
        ),
        (
            "column command to a row that is not open",
            &[(1, Command::Activate, 1), (1001, Command::Read, 2)],
        ),
        (
            "refresh of an open bank",
            &[(1, Command::Activate, 1), (1001, Command::RefreshAll, 0)],
        ),
        ("nine tREFI", &[(200_000, Command::RefreshAll, 0)]),
    ];
    for (rule, commands) in cases {
        let commands: Vec<_> = commands
            .iter()
            .map(|&(tick, command, row)| IssuedCommand {
                tick,
                command,
                bank: 0,
                row,
                column: 0,
            })
            .collect();
        let found: Vec<_> = check(&device, 1, &commands)
            .iter()
            .map(|violation| violation.rule)
            .collect();
        assert_eq!(found, [rule]);
    }
}
