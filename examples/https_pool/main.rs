//! A pool of HTTPS connections: a hundred requests share four of them.

mod server;

use std::error::Error;

use http::Request;
use http_body_util::BodyExt;
use millpond::connection::Pool;
use millpond::connection::https::{HttpsConfig, HttpsConnection, HttpsConnectionManager, RequestBody};
use millpond::net::tls::{TlsConfig, TlsRoots};
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // Against a public server, `HttpsConnectionManager::new("https://example.com")` is enough.
    let (url, certificate) = server::start().await?;
    let tls = TlsConfig::new().roots(TlsRoots::OnlyAdded).add_root_pem(certificate).build()?;
    let manager = HttpsConnectionManager::with_config(&url, HttpsConfig::default().tls(Some(tls)))?;
    let pool = Pool::builder().max_size(4).build(manager).await?;

    let tasks: JoinSet<_> = (0..100).map(|number| fetch(pool.clone(), number)).collect();
    for page in tasks.join_all().await {
        assert!(page?.ends_with("grist"));
    }
    println!("{}", pool.state());
    Ok(())
}

async fn fetch(
    pool: Pool<HttpsConnectionManager>,
    number: usize,
) -> Result<String, Box<dyn Error + Send + Sync>> {
    let request = Request::get(format!("/{number}")).body(RequestBody::empty())?;
    let response = HttpsConnection::send(pool.get().await?, request).await?;
    let page = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(page.into())?)
}
