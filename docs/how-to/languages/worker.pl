# perl worker.pl [PORT]: serve the job perl.upper.
use strict;
use warnings;
use Gearman::Worker;
use JSON::PP;

my $json = JSON::PP->new->utf8->allow_nonref;
my $worker = Gearman::Worker->new(job_servers => ["127.0.0.1:" . ($ARGV[0] // 4730)]);

$worker->register_function("perl.upper", sub { $json->encode(uc $json->decode($_[0]->arg)) });

$worker->work while 1;
