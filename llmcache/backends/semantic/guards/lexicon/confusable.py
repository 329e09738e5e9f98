"""English words that look like slips of the pen for one another, and are not."""

from __future__ import annotations

from typing import Final

_CONFUSABLE = """
    employer:employee trainer:trainee interviewer:interviewee payer:payee licenser:licensee
    action:auction adapt:adopt adaptable:adoptable adoption:adaption angel:angle august:augusta
    banking:backing barn:bran barred:bared batter:butter battery:buttery better:batter
    blending:bending booting:booking broker:broken brother:bother calm:clam cancel:cancer
    carve:crave casual:causal charged:changed charger:changer charging:changing cleaner:clearer
    cleaning:clearing coarse:course coma:comma communism:communist complementary:complimentary
    compliment:complement confirm:conform contact:contract content:context contest:content
    context:contest continuous:contiguous contract:contrast cooking:cooling corner:coroner
    country:county dairy:diary depletion:deletion desert:dessert detection:defection
    diner:dinner discrete:discreet does:dose election:erection expand:expend expense:expanse
    explore:explode export:expert external:eternal felling:feeling fiction:friction filed:field
    filing:filling flier:filer form:from friction:fraction goal:gaol heading:heating
    hearing:healing hearing:heating heating:healing holly:holy hopping:hoping hosting:hosing
    infect:inject ingenious:ingenuous injection:infection insect:insert insulation:insolation
    insure:injure insured:injured internal:interval interstate:intestate invest:invent
    investing:inventing investor:inventor lactose:lactase latter:later learning:leaning
    letter:latter lighting:lightning locking:lacking looking:locking loose:lose loosing:losing
    maltose:maltase manager:manger marital:martial matter:mutter message:massage moral:morale
    morality:mortality morning:mourning nitrate:nitrite parent:patent parking:packing
    patient:patent perfect:prefect planned:planed planning:planing planting:planning
    plaster:planter pooling:polling popular:poplar portion:potion posting:pasting
    prescribe:proscribe present:prevent produce:product protects:protests protein:protean
    protest:protect quiet:quite rabbit:rabbi rational:rationale remote:remove
    repeal:repeat reports:resorts resort:report retail:retain retailer:retainer rooting:routing
    rotting:rooting sacred:scared salve:slave savings:sayings scrapping:scraping
    sealing:stealing secretion:secretin section:suction selling:spelling sender:sander
    server:sever shipping:shopping signed:singed silver:sliver skimming:slimming
    skinning:spinning slat:salt slimming:swimming smelling:spelling speaker:sneaker
    spelling:spilling spending:sending stared:starred staring:starring stationary:stationery
    statue:stature statue:status stature:statute status:statues statute:statue striped:stripped
    striping:stripping sulfate:sulfite sulphate:sulphite sulphide:sulphite sundays:sundaes
    super:supper tapped:taped tapping:taping testing:tasting thorough:through though:through
    tiling:tilling tired:tried tires:tries tracker:trucker tracking:trucking trail:trial
    trainer:trailer training:trailing transit:transmit treaty:treat unable:usable unite:untie
    united:untied vacation:vocation valley:volley waiting:writing waking:walking wanting:waiting
    washing:wishing wedding:weeding wedding:welding weighing:weighting wining:winning
    working:worming writer:waiter
"""

CONFUSABLE: Final = frozenset(frozenset(pair.split(":")) for pair in _CONFUSABLE.split())
"""Pairs of words, as they are written."""
