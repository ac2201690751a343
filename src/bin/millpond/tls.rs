//! What the options of TLS say, for the relay.

use std::collections::BTreeMap;
use std::error::Error;

use millpond::net::Endpoint;
use millpond::net::tls::{ServerNames, TlsAcceptor, TlsConfig, TlsRoots, TlsServerConfig};
use millpond::relay::{Backend, BackendConfig, NameRoutes, RelayConfig};

use crate::options::ListenerArgs;

/// Whether the options fit together, and the files hold what they should.
pub(crate) fn check(args: &ListenerArgs) -> Result<(), Box<dyn Error>> {
    towards_servers(args, BackendConfig::default())?;
    acceptor(args)?;
    Ok(())
}

/// Adds TLS towards clients, and the routes by name. All of them lead to backends with these settings.
pub(crate) fn towards_clients(
    args: &ListenerArgs,
    mut config: RelayConfig,
    backend: &BackendConfig,
) -> Result<RelayConfig, Box<dyn Error>> {
    if let Some(acceptor) = acceptor(args)? {
        config = config.tls(acceptor);
    }
    if args.sni.is_empty() {
        return Ok(config);
    }
    let mut servers = BTreeMap::<&str, Vec<Endpoint>>::new();
    for (name, endpoint) in &args.sni {
        servers.entry(name).or_default().push(endpoint.clone());
    }
    let mut names = ServerNames::new();
    for (name, servers) in servers {
        names.insert(name, Backend::new(servers, backend.clone()))?;
    }
    Ok(config.name_routes(NameRoutes::new(names).refuse_others(args.sni_only)))
}

fn acceptor(args: &ListenerArgs) -> Result<Option<TlsAcceptor>, Box<dyn Error>> {
    if args.tls_cert.len() != args.tls_key.len() {
        return Err(format!(
            "--tls-cert: {} certificates have {} keys (give each a --tls-key, in the same order)",
            args.tls_cert.len(),
            args.tls_key.len()
        )
        .into());
    }
    if args.tls_cert.is_empty() {
        return Ok(None);
    }
    let mut tls = TlsServerConfig::new();
    for (chain, key) in args.tls_cert.iter().zip(&args.tls_key) {
        tls = tls.certificate_files(chain, key);
    }
    for roots in &args.tls_client_ca {
        tls = tls.client_root_file(roots);
    }
    tls.build().map(Some).map_err(|error| format!("--tls-cert: {error}").into())
}

/// Adds TLS towards the upstream.
pub(crate) fn towards_servers(
    args: &ListenerArgs,
    config: BackendConfig,
) -> Result<BackendConfig, Box<dyn Error>> {
    if !args.to_tls {
        return Ok(config);
    }
    let mut tls = TlsConfig::new();
    if !args.to_ca.is_empty() {
        tls = tls.roots(TlsRoots::OnlyAdded);
    }
    for roots in &args.to_ca {
        tls = tls.add_root_file(roots);
    }
    let config = config.tls(tls.build().map_err(|error| format!("--to-tls: {error}"))?);
    match &args.to_name {
        Some(name) => Ok(config.tls_name(name)),
        None if args.to.iter().any(|to| matches!(to, Endpoint::Unix(_))) => {
            Err("--to-tls: a Unix socket has no name (say by --to-name whose certificate it must be)".into())
        }
        None => Ok(config),
    }
}
