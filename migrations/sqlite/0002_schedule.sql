-- Times are milliseconds since the epoch.

alter table cursor add column late integer not null default 0;
-- While rows come late, polls keep a greater distance (milliseconds) until this moment.
alter table cursor add column settle integer;
alter table cursor add column settle_until integer;

-- A row per job and connection that is timed or was paused; what the scheduler knows after a restart.
create table schedule (
    connection    text    not null,
    job           text    not null,
    timing        text    not null,
    last_planned  integer,
    last_started  integer,
    last_ok       integer,
    next_due      integer,
    paused_at     integer,
    paused_by     text,
    paused_until  integer,
    paused_reason text,
    primary key (connection, job)
) strict, without rowid;
