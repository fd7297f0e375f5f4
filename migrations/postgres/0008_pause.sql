-- Times are milliseconds since the epoch.

-- What a person stopped for a whole connection: `writes` = nothing is written to either platform.
create table pause (
    connection    text    not null,
    what          text    not null,
    paused_at     bigint  not null,
    paused_by     text    not null,
    paused_reason text    not null,
    paused_until  bigint,
    primary key (connection, what)
);
