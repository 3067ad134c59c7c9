//! `connection_requests`: who asked which company for a connection.

use sqlx::postgres::PgConnection;

use super::StoreError;

/// A request for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRequest {
    /// The company that asks.
    pub company_id: String,
    /// The request's id there.
    pub request_id: String,
    /// The company that is asked.
    pub target_company_id: String,
    /// Who asked; nobody where a program did.
    pub user_id: Option<String>,
}

/// Writes requests that are not there; the first record of one counts.
///
/// # Errors
/// Where Postgres is away, or refuses a row.
pub async fn put(tx: &mut PgConnection, requests: &[&ConnectionRequest]) -> Result<(), StoreError> {
    let text = |f: fn(&ConnectionRequest) -> &String| {
        requests.iter().map(|request| f(request).clone()).collect()
    };
    let companies: Vec<String> = text(|request| &request.company_id);
    let ids: Vec<String> = text(|request| &request.request_id);
    let targets: Vec<String> = text(|request| &request.target_company_id);
    let users: Vec<Option<String>> = requests.iter().map(|r| r.user_id.clone()).collect();
    sqlx::query!(
        "INSERT INTO connection_requests (company_id, request_id, target_company_id, user_id)
         SELECT company_id, request_id, target_company_id, user_id
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY
             AS r(company_id, request_id, target_company_id, user_id, number)
         ORDER BY company_id, request_id, number
         ON CONFLICT DO NOTHING",
        &companies,
        &ids,
        &targets,
        &users as &[Option<String>]
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The requests of these companies and ids, in that order; `None` where nothing is known of one.
///
/// # Errors
/// Where Postgres is away.
pub async fn these(
    tx: &mut PgConnection,
    requests: &[(&str, &str)],
) -> Result<Vec<Option<ConnectionRequest>>, StoreError> {
    let companies: Vec<String> = requests.iter().map(|(c, _)| (*c).to_owned()).collect();
    let ids: Vec<String> = requests.iter().map(|(_, id)| (*id).to_owned()).collect();
    let rows = sqlx::query!(
        r#"SELECT b.number AS "number!", r.company_id, r.request_id, r.target_company_id, r.user_id
           FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS b(company_id, request_id, number)
           JOIN connection_requests r USING (company_id, request_id)"#,
        &companies,
        &ids
    )
    .fetch_all(tx)
    .await?;
    let mut found = vec![None; requests.len()];
    for row in rows {
        let index = usize::try_from(row.number - 1).unwrap_or_default();
        if let Some(place) = found.get_mut(index) {
            *place = Some(ConnectionRequest {
                company_id: row.company_id,
                request_id: row.request_id,
                target_company_id: row.target_company_id,
                user_id: row.user_id,
            });
        }
    }
    Ok(found)
}
