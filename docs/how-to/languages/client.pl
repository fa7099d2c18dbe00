# perl client.pl [PORT]: submit jobs of the shop.
use strict;
use warnings;
use Gearman::Client;
use JSON::PP;

my $json = JSON::PP->new->utf8->allow_nonref;
my $client = Gearman::Client->new(job_servers => ["127.0.0.1:" . ($ARGV[0] // 4730)]);

my $result = $client->do_task("shop.reverse", $json->encode("hello"));
print $json->decode($$result), "\n";

$result = $client->do_task("shop.resize", $json->encode({args => ["cat.png"], kwargs => {width => 3}}));
print $json->decode($$result), "\n";

# The result of a failed job is undefined.
print defined $client->do_task("shop.reverse", $json->encode(5)) ? "done\n" : "failed\n";

# In the background. With a unique, the worker can retry the job.
$client->dispatch_background("send-mail", $json->encode("ada\@example.com"), {uniq => "mail to ada"});
