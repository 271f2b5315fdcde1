//! The flags that set options, shared by `serve` and `config`: each stands for one row of the hub's table.

use std::path::PathBuf;

use clap::Args;
use fanfare_hub::Loader;

use crate::exit::Failure;

/// Where the configuration comes from: defaults, then the file, then FANFARE_* variables, then these flags.
#[derive(Args, Debug, Default)]
pub(crate) struct Settings {
    /// Read this TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Listen here for plain HTTP; port 0 takes any free port [default: 127.0.0.1:4780]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,

    /// Listen here for HTTPS; needs --tls-cert and --tls-key
    #[arg(long, value_name = "ADDR")]
    tls_listen: Vec<String>,

    /// PEM file with the certificate chain
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,

    /// PEM file with the certificate's private key
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,

    /// Let pages of this site subscribe and publish, such as `https://app.example`
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<String>,

    /// Time between signs of life on every stream, 0 for none [default: 15s]
    #[arg(long, value_name = "SECONDS")]
    heartbeat: Option<String>,

    /// Send the events of this topic (`rooms/*`: of all that begin so) through this handler; behind the file, `;event=TYPE`,
    /// `;config.KEY=VALUE` or `;NAME=VALUE` for an option `handler.NAME` sets what holds for it alone
    #[arg(long, value_name = "TOPIC=FILE")]
    handler: Vec<String>,

    /// Keep history in this folder over restarts
    #[arg(long, value_name = "DIR")]
    data: Option<String>,

    /// Set any option; `fanfare config` lists them. May be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// Reads all layers. Nothing is started yet, and values are not checked against each other.
    pub(crate) fn load(&self) -> Result<Loader, Failure> {
        let mut loader = Loader::new();
        if let Some(path) = &self.config {
            loader.file(path).map_err(Failure::usage)?;
        }
        loader.environment(std::env::vars_os()).map_err(Failure::usage)?;
        loader.begin_flags();
        for (flag, name, texts) in [
            ("--listen", "listen", list(&self.listen)),
            ("--tls-listen", "tls.listen", list(&self.tls_listen)),
            ("--tls-cert", "tls.cert", self.tls_cert.clone()),
            ("--tls-key", "tls.key", self.tls_key.clone()),
            ("--cors-origin", "cors.origins", list(&self.cors_origin)),
            ("--heartbeat", "heartbeat", self.heartbeat.clone()),
            ("--handler", "handlers", list(&self.handler)),
            ("--data", "data", self.data.clone()),
        ] {
            if let Some(text) = texts {
                loader.flag(flag, name, &text).map_err(Failure::usage)?;
            }
        }
        set(&mut loader, &self.set)?;
        Ok(loader)
    }
}

/// Applies `KEY=VALUE` pairs.
pub(crate) fn set(loader: &mut Loader, pairs: &[String]) -> Result<(), Failure> {
    for pair in pairs {
        let Some((name, text)) = pair.split_once('=') else {
            return Err(Failure::usage(format_args!("--set: expected KEY=VALUE, got {pair:?}")));
        };
        loader.flag("--set", name.trim(), text).map_err(Failure::usage)?;
    }
    Ok(())
}

fn list(texts: &[String]) -> Option<String> {
    (!texts.is_empty()).then(|| texts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_pairs_are_one_layer() {
        let settings = Settings {
            listen: vec!["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()],
            set: vec!["lanes=2".to_owned()],
            ..Settings::default()
        };
        let loader = settings.load().expect("sound");
        assert_eq!((loader.config().server.listen.len(), loader.config().server.lanes), (2, 2));

        let twice = Settings { set: vec!["listen=127.0.0.1:3".to_owned()], ..settings };
        let Err(Failure::Usage(message)) = twice.load() else { panic!("set twice") };
        assert_eq!(message, "--set: listen is set twice, first at --listen");
    }

    #[test]
    fn a_pair_needs_an_equals_sign() {
        let settings = Settings { set: vec!["lanes".to_owned()], ..Settings::default() };
        assert!(matches!(settings.load(), Err(Failure::Usage(message)) if message.contains("KEY=VALUE")));
    }
}
