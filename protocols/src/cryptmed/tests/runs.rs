//! Whole runs in one process.

use super::*;

#[test]
fn exact_runs_give_the_integers_scores_for_all_activations() {
    for function in Named::IN_PIECES.into_iter().filter(|f| *f != Named::TanhPla) {
        let program = network(&[9, 20, 17, 3], named(function), 3);
        let rows = inputs(9, 5, 4);
        let mut prng = Prng::from_seed_for_tests([1; 32]);
        let out = local(&program, Terms::SCORES, &[rows.clone(), rows[..1].to_vec()], &mut prng).unwrap();
        let Some(Answer::Scores(scores)) = &out.client[0].answer else { panic!("scores") };
        for (row, scores) in rows.iter().zip(scores) {
            assert_eq!(scores, &exact_scores(&program, row), "{function:?}");
        }
        assert!(out.server.iter().all(|o| o.answer.is_none()));
        // Repeated rows show no rounding.
        assert_eq!(out.client[1].answer, Some(Answer::Scores(scores[..1].to_vec())));
    }
}

#[test]
fn runs_give_the_integers_labels() {
    for classes in [2, 3, 10] {
        let program = network(&[12, 40, 33, classes], named(Named::Relu), 9);
        let rows = inputs(12, 70, 6);
        let mut prng = Prng::from_seed_for_tests([1; 32]);
        let out = local(&program, Terms::LABELS, std::slice::from_ref(&rows), &mut prng).unwrap();
        let Some(Answer::Labels(labels)) = &out.client[0].answer else { panic!("labels") };
        let same = rows.iter().zip(labels).filter(|(row, label)| {
            let run = plain::run(&program, row, blindvox_models::Rounding::Nearest);
            run.labels == **label
        });
        // Ties within the rounding may fall otherwise.
        assert!(same.count() >= 68, "{classes} classes");
    }
}

#[test]
fn a_run_sends_and_waits_for_what_its_tables_say() {
    // Sizes of 32: no bits are left over.
    let program = network(&[32, 64, 64, 32], named(Named::Relu), 3);
    let mut prng = Prng::from_seed_for_tests([1; 32]);
    let out: Outcome = local(&program, Terms::LABELS, &[inputs(32, 1, 4)], &mut prng).unwrap().client.remove(0);
    // An input is 4 bytes up, a ReLU 8 online (4 down, 16 bits each way) and 4 ahead; then 496 pairs and an AND of 31.
    let pairs = 496;
    let and = MaskSpec::all(31);
    let ands = (0..3).map(|level| (and.trees[0].opened(level) * 32).div_ceil(8)).sum::<usize>();
    let up = 4 * (32 + 64 + 64) + 128 * 2 + (13 * pairs) / 8 + (2 * pairs) / 8 + ands;
    let down = 128 * (4 + 2) + pairs * 4 + (13 * pairs) / 8 + (2 * pairs) / 8 + ands + 4;
    let traffic = out.online.traffic;
    assert_eq!((traffic.sent, traffic.received), (up as u64, down as u64));
    assert_eq!(out.preprocessing.traffic.sent, 16 + 128 * 4 + pairs as u64 * 4);
    assert_eq!(out.preprocessing.traffic.received, 0);
    assert_eq!(out.online.flights, 2 * 5 + 1 + 3 + 3 + 1);
}

#[test]
fn a_played_dealer_gives_the_same_answers_and_runs_are_numbered() {
    let program = network(&[9, 20, 17, 3], named(Named::SigmoidPlan2), 3);
    let rows = inputs(9, 5, 4);
    let (client, server) = local_pair();
    let answer = std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let source = |_: &[u8]| -> crate::Result<Box<dyn super::super::source::Source>> {
                Ok(Box::new(Played::for_tests(Party::Server, 3)))
            };
            let mut session = Session::serve_from(&program, Terms::SCORES, server, source).unwrap();
            while session.answer().unwrap().is_some() {}
        });
        let source = |_: &[u8]| -> crate::Result<Box<dyn super::super::source::Source>> {
            Ok(Box::new(Played::for_tests(Party::Client, 3)))
        };
        let mut session = Session::connect_from(client, source).unwrap();
        let answer = session.run(&rows).unwrap().answer;
        session.finish().unwrap();
        server.join().unwrap();
        answer
    });
    let Some(Answer::Scores(scores)) = answer else { panic!("scores") };
    assert!(rows.iter().zip(&scores).all(|(row, scores)| *scores == exact_scores(&program, row)));
}

/// All that reaches the dealer: the architecture, and numbers of runs and rows.
#[test]
fn the_dealer_learns_the_architecture_and_the_number_of_rows_alone() {
    let seen = |seed: u8, rows: Vec<Vec<i32>>| {
        let program = network(&[9, 20, 3], named(Named::Relu), seed);
        let (client, server) = local_pair();
        let (client_dealer, mut to_client) = local_pair();
        let (server_dealer, mut to_server) = local_pair();
        // The dealer's own half behind one that notes what reaches it.
        let (noted, dealer_server) = local_pair();
        let (mut dealer, mut seen) = (noted, Vec::new());
        std::thread::scope(|scope| {
            let (dealer_client_end, dealer_client) = local_pair();
            let mut dealer_client_end = dealer_client_end;
            scope.spawn(move || deal(dealer_client, dealer_server, &mut Prng::from_seed_for_tests([1; 32]), u64::MAX));
            let program = &program;
            scope.spawn(move || {
                let mut session = Session::serve(program, Terms::LABELS, server, server_dealer).unwrap();
                while session.answer().unwrap().is_some() {}
            });
            let client = scope.spawn(move || {
                let mut session = Session::connect(client, client_dealer).unwrap();
                session.run(&rows).unwrap();
                session.finish().unwrap();
            });
            let pass = |from: &mut blindvox_net::channel::Channel, to: &mut blindvox_net::channel::Channel| {
                let message = from.recv().unwrap();
                to.send(message.clone()).unwrap();
                message
            };
            seen.push(pass(&mut to_server, &mut dealer));
            (0..2).for_each(|_| drop(pass(&mut dealer_client_end, &mut to_client)));
            (0..2).for_each(|_| drop(pass(&mut dealer, &mut to_server)));
            seen.push(pass(&mut to_server, &mut dealer));
            let items = Plan::new(program, 2, Terms::LABELS).unwrap().items().len();
            (0..items).for_each(|_| drop(pass(&mut dealer, &mut to_server)));
            client.join().unwrap();
            // The client sends the dealer nothing, the server nothing more.
            assert!(to_server.recv().is_err() && to_client.recv().is_err());
            drop(dealer);
        });
        seen
    };
    let first = seen(3, inputs(9, 2, 1));
    assert_eq!(first, seen(4, inputs(9, 2, 7)), "weights and rows differ");
    assert_eq!(first[1].len(), 16);
}

/// Words and bits that were opened, at a fixed input, for two models.
#[test]
fn what_is_opened_is_uniform_for_any_model() {
    let open_all = |seed: u8, run: u64| {
        let function = named(Named::SigmoidLogsqnl);
        let activation = Activation::new(&function, 12, true);
        let y: Vec<i64> = (0..512 * 8).map(|i| (i64::from(seed) - 4) * 1_000_000 + i % 3).collect();
        let client: Vec<u32> = y.iter().map(|_| 7).collect();
        let server: Vec<u32> = y.iter().map(|&y| (y as u32).wrapping_sub(7)).collect();
        let shares = [client, server];
        let [(_, end), _] = both(|end| {
            let masks = masks(&activation.spec, y.len(), end.party, run);
            let c = open(end, pick(end, &shares), &masks, activation.offset()).unwrap();
            activation.evaluate(end, &masks, &c).unwrap();
        });
        end.opened
    };
    for (model, run) in [(3, 1), (5, 2)] {
        let opened = open_all(model, run);
        // 4 bytes of c, 15 bits for each of three thresholds, 4 of the rounding, 3 pieces and the rounding's own bit.
        assert_eq!(opened.len(), 4096 * 4 + 4096 / 8 * (3 * 15 + 4 + 3 + 1));
        let mut counts = [0f64; 256];
        opened.iter().for_each(|&b| counts[usize::from(b)] += 1.0);
        let mean = opened.len() as f64 / 256.0;
        let chi2: f64 = counts.iter().map(|c| (c - mean).powi(2) / mean).sum();
        // 255 degrees of freedom: 6 deviations of 22.6 beside 255.
        assert!((120.0..390.0).contains(&chi2), "{chi2}");
    }
}

#[test]
fn messages_of_another_length_are_errors() {
    let spec = MaskSpec::sign();
    let message = spec.deal(100, 0, &streams(0, 1), &streams(1, 1));
    for wrong in [&message[1..], &[&message[..], &[0]].concat()] {
        assert!(spec.server(100, 0, &streams(1, 1), wrong).is_err());
    }
}
