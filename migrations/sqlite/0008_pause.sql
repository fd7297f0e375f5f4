-- Times are milliseconds since the epoch.

-- What a person stopped for a whole connection: `writes` = nothing is written to either platform.
create table pause (
    connection    text    not null,
    what          text    not null,
    paused_at     integer not null,
    paused_by     text    not null,
    paused_reason text    not null,
    paused_until  integer,
    primary key (connection, what)
) strict, without rowid;
