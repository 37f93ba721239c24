//! Tables of measurements: `cargo run --release -p blindvox-bench -- <table>`.

use clap::{Parser, Subcommand};

mod bunet;
mod ckks;
mod cryptmed;
mod federated;
mod kernels;
mod links;
mod nonlinear;
mod process;
mod slots;
mod tls;

#[derive(Parser)]
#[command(about = "Measures blindvox; every table checks what it times.")]
struct Cli {
    #[command(subcommand)]
    table: Table,
}

#[derive(Subcommand)]
enum Table {
    /// BUNET's network, four presets, against the paper's table.
    Bunet(bunet::Args),
    /// CKKS and BFV operation by operation.
    Ckks(ckks::Args),
    /// CryptMed's networks with a dealer, against the paper's tables.
    Cryptmed(cryptmed::Args),
    /// CryptoUNets' kind of network wholly under CKKS.
    Cryptounets(slots::Args),
    /// Imagia's networks wholly under CKKS, beside the paper's times.
    Imagia(slots::Args),
    /// Federated averaging step by step, against the paper's figures.
    Federated(federated::Args),
    /// The engine's kernels against peers and limits.
    Kernels(kernels::Args),
    /// The demo's models over emulated links.
    Links(links::Args),
    /// Non-linear protocols, both parties in this process.
    Nonlinear(nonlinear::Args),
    /// What TLS costs, over loopback.
    Tls(tls::Args),
}

fn main() -> std::process::ExitCode {
    let result = match Cli::parse().table {
        Table::Bunet(args) => bunet::run(args),
        Table::Ckks(args) => ckks::run(args),
        Table::Cryptmed(args) => cryptmed::run(args),
        Table::Cryptounets(args) => slots::cryptounets(&args),
        Table::Imagia(args) => slots::imagia(&args),
        Table::Federated(args) => federated::run(args),
        Table::Kernels(args) => kernels::run(args),
        Table::Links(args) => links::run(args),
        Table::Nonlinear(args) => nonlinear::run(args),
        Table::Tls(args) => tls::run(args),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            std::process::ExitCode::FAILURE
        }
    }
}
